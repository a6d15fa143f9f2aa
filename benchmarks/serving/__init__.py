"""Speed of serving."""
