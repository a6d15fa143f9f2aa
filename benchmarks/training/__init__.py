"""How fast training is."""
