"""Which model ranks best: shared samples, hyperparameter search, tables, ablation."""

import warnings

# Libraries warn about old Python versions; `make run` says so once, with the cure.
warnings.filterwarnings("ignore", "You are using a .*Python version", FutureWarning)
