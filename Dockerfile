# The image that Kubeflow's steps run: the reference environment and this code.
#   docker build -t imn:latest .
# then push it where the cluster finds it, and name it with IMN_IMAGE.
FROM python:3.10-slim

# pyfarmhash, which TFX needs, comes as source alone.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /imn
COPY requirements/reference.txt requirements/
RUN pip install --no-cache-dir uv \
    && uv pip install --system --no-cache --compile-bytecode --no-deps -r requirements/reference.txt
COPY setup.py pyproject.toml README.md ./
COPY pipeline pipeline
COPY model model
COPY transforms transforms
COPY serving serving
COPY recommend recommend
RUN uv pip install --system --no-cache --compile-bytecode --no-deps --no-build-isolation .
ENV TF_USE_LEGACY_KERAS=1
