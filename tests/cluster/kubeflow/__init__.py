"""Runs a package for Kubeflow Pipelines 1 step by step, without a cluster.

`package` reads the Argo workflow, `run` executes its steps as Argo does, `containers` starts each
step's command, `store` is a MariaDB, `image` builds the image. Nothing here imports the pipeline.
"""
