"""The parts of the models, one a file: Keras layers that work alone."""
