"""The embedded server: answers requests with pushed models, in TF Serving's protocol."""

import importlib.metadata

try:
    VERSION = importlib.metadata.version("iterative-memory-network")  # set in pyproject.toml
except importlib.metadata.PackageNotFoundError:
    VERSION = "unknown: the package is not installed"
