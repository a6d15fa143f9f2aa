"""The distribution that a Beam worker or a Kubeflow step installs; pyproject.toml describes it."""

import setuptools

setuptools.setup()
