"""What Keras trains and exports: layers, models, the trainer."""
