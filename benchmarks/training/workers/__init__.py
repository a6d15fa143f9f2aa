"""Speed of training on several workers."""
