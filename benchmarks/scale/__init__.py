"""Cost of training by items, rows and history length."""
