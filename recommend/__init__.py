"""The recommend command: the best items for one user of the ratings."""
