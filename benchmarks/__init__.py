"""Speed of ingestion, training and serving: JSON, Markdown and a picture each."""
