"""The pipeline as a package for Kubeflow Pipelines 1 and 2."""
