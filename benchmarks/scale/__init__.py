"""How the cost of training grows with items, rows and history length."""
