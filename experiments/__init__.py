"""Which model ranks best: shared samples, hyperparameter search, tables, ablation."""

import os
import warnings

# Libraries warn about old Python versions; `make run` says so once, with the cure.
warnings.filterwarnings("ignore", "You are using a .*Python version", FutureWarning)
# The current set's Keras is 3, and the models need 2; before TensorFlow is imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
