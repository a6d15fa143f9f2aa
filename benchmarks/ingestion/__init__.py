"""How fast ingestion is."""
