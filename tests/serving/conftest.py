"""A server in this process, over a folder of versions that tests may add to."""

import shutil

import pytest
import tensorflow as tf
from serving_requests import Running, rank_inputs


@pytest.fixture(scope="session")
def reference(export):
    """The signatures as Python's own loader of SavedModels gives them: what must come out."""
    return tf.saved_model.load(export).signatures


@pytest.fixture(scope="session")
def expected(reference):
    """Scores of the rank request that tests send again and again."""
    inputs = {name: tf.constant(value) for name, value in rank_inputs().items()}
    return reference["rank"](**inputs)["scores"].numpy()


@pytest.fixture
def models(export, tmp_path):
    """A folder with one model `imn`, version 1."""
    shutil.copytree(export, tmp_path / "models" / "imn" / "1")
    return tmp_path / "models"


@pytest.fixture(scope="module")
def running(export, tmp_path_factory):
    """A server that the tests of a module share."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(export, folder / "imn" / "1")
    server = Running(folder)
    yield server
    server.stop()


@pytest.fixture
def start(models):
    """Starts servers over `models`."""
    started = []

    def run(limits=None):
        started.append(Running(models, limits))
        return started[-1]

    yield run
    for server in started:
        server.stop()
