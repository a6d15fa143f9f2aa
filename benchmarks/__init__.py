"""Speed of ingestion, training and serving: JSON, Markdown and a picture each."""

import warnings

# Libraries warn about old Python versions; `make run` says so once, with the cure.
warnings.filterwarnings("ignore", "You are using a .*Python version", FutureWarning)
