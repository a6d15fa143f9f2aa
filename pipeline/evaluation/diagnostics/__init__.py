"""What a model does on the test rows, beyond metrics: curves, attention, users."""
