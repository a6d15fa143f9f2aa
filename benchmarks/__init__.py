"""One file a question; each writes JSON, Markdown and a picture."""
