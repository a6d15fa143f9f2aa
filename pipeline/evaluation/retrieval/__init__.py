"""How well a model finds items in the whole catalogue."""
