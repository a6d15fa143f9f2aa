"""How fast ingestion, training and serving are: JSON, Markdown and a picture each."""
