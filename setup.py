"""The distribution: what a Beam worker or a Kubeflow step installs."""

import setuptools

setuptools.setup(
    name="iterative-memory-network",
    version="0.1.0",
    description="Iterative Memory Networks for long user histories, as a TFX pipeline",
    python_requires=">=3.10,<3.14",
    packages=setuptools.find_packages(
        include=["pipeline*", "model*", "transforms*", "serving*", "recommend*"]
    ),
    package_data={"pipeline": ["*.pbtxt"]},
    # The sets that ran, version by version, are the locks in requirements/.
    install_requires=[
        "aiohttp>=3.9,<4",
        "apache-beam>=2.74,<3",
        "dill",  # Beam dropped it, TFX still imports it
        "google-crc32c",
        "grpcio>=1.48",
        "grpcio-health-checking>=1.48",
        "isal",
        "numpy>=1.26",
        "pyarrow>=10",
        "rich>=13",
        "tensorboard>=2.15,<2.22",
        "tensorflow>=2.15.1,<2.22",
        "tensorflow-data-validation>=1.15.1,<1.22",
        "tensorflow-model-analysis>=0.46,<0.53",
        "tensorflow-recommenders==0.7.7",
        "tensorflow-serving-api>=2.15.1,<2.22",
        "tensorflow-transform>=1.15,<1.22",
        "tf-keras>=2.15,<2.22",
        "tfx>=1.15.1,!=1.16.*,!=1.17.*,<1.22",
    ],
    extras_require={
        "kfp": ["kfp>=1.8.22"],
        "test": ["hypothesis", "mypy", "psutil", "pytest", "pytest-xdist", "pyyaml", "ruff"],
        "bench": ["matplotlib", "polars", "psutil"],
    },
)
