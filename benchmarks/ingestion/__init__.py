"""Speed of ingestion."""
