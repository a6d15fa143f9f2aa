# The image that Kubeflow's steps run: this code and the packages that it imports, of one set of versions.
#   docker build -t imn:latest --build-arg REVISION=$(git rev-parse HEAD) .             the reference set
#   docker build -t imn:latest --build-arg STACK=current --build-arg BASE=python:3.13-slim-trixie .
# Then push it where the cluster finds it, and name it with IMN_IMAGE (docs/kubeflow.md). BASE must have
# `python3` with venv and pip: 3.10 for the reference set; 3.11 to 3.13 and glibc 2.39 or later for the current.
ARG BASE=python:3.10-slim

FROM ${BASE} AS build
ARG STACK=reference
# pyfarmhash, which TFX needs, comes as source alone.
RUN apt-get update && apt-get install -y --no-install-recommends g++
WORKDIR /src
COPY requirements/${STACK}.txt lock.txt
RUN pip install --no-cache-dir "$(grep -oE '^uv==[^ ;]+' lock.txt)" \
    && python3 -m venv --without-pip /opt/imn
ENV VIRTUAL_ENV=/opt/imn
COPY setup.py pyproject.toml README.md ./
# What pyproject.toml needs to run, in the versions and with the hashes of the lock; no test tools.
RUN uv pip install --no-cache --compile-bytecode --require-hashes -c lock.txt -r pyproject.toml
COPY pipeline pipeline
COPY model model
COPY transforms transforms
COPY serving serving
COPY recommend recommend
RUN uv pip install --no-cache --compile-bytecode --no-deps --no-build-isolation .

FROM ${BASE}
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="iterative-memory-network" \
      org.opencontainers.image.description="Steps of the IMN pipeline for Kubeflow" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# The number that the package asks for (pipeline/kubeflow/steps.py).
RUN useradd --uid 1000 --create-home imn
COPY --from=build /opt/imn /opt/imn
# Sources again, which Beam's workers of another runner build and install (--setup_file).
COPY setup.py pyproject.toml README.md /imn/
COPY pipeline /imn/pipeline
COPY model /imn/model
COPY transforms /imn/transforms
COPY serving /imn/serving
COPY recommend /imn/recommend
ENV PATH=/opt/imn/bin:$PATH TF_USE_LEGACY_KERAS=1
# Not /imn: Python would take the sources there, and compile them in each step.
WORKDIR /home/imn
COPY local_runner.py ./
USER 1000:1000
