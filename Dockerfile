# The image that Kubeflow's steps run: one set of versions and this code.
#   docker build -t imn:latest .                                      the reference set
#   docker build -t imn:latest --build-arg STACK=current --build-arg BASE=python:3.13-slim-trixie .
# then push it where the cluster finds it, and name it with IMN_IMAGE. The current set needs a base
# with glibc 2.39 or later and Python 3.11 to 3.13.
ARG BASE=python:3.10-slim
FROM ${BASE}
ARG STACK=reference

# pyfarmhash, which TFX needs, comes as source alone.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /imn
COPY requirements/${STACK}.txt requirements/
RUN pip install --no-cache-dir uv \
    && uv pip install --system --no-cache --compile-bytecode --no-deps --require-hashes \
    -r requirements/${STACK}.txt
COPY setup.py pyproject.toml README.md ./
COPY pipeline pipeline
COPY model model
COPY transforms transforms
COPY serving serving
COPY recommend recommend
COPY local_runner.py ./
RUN uv pip install --system --no-cache --compile-bytecode --no-deps --no-build-isolation .
ENV TF_USE_LEGACY_KERAS=1
