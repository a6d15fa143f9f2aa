"""The REST port."""
