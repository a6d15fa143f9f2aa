"""One file a question; each writes JSON, Markdown and a picture."""

import os

# Before TensorFlow is imported: TensorFlow Transform and TFRS need Keras 2.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
