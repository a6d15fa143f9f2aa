"""The training loop and its parts: data, optimizer, losses, metrics."""
