"""The Keras models: presets, layers, training and export."""
