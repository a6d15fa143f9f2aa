"""The training loop and its parts: data, optimizer, L2 of the item table, metrics, progress."""
