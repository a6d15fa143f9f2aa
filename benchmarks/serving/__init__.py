"""How fast serving is."""
