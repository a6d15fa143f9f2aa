"""What TensorFlow Transform runs, in training and in serving alike."""
