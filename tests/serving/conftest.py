"""A server in this process, and what it must answer."""

import logging
import shutil

import pytest
import tensorflow as tf

from serving.limits import Limits
from tests.support.serving_requests import Running, rank_inputs

WARMUP = "assets.extra/tf_serving_warmup_requests"


@pytest.fixture(autouse=True)
def _same_log():
    """Undoes the logging that `server.main` sets up.

    Its handler writes to the captured standard error of one test. Afterwards the server that all
    tests share would write its log there, or into the lines that another test reads.
    """
    handlers, level = logging.root.handlers[:], logging.getLogger("serving").level
    yield
    logging.root.handlers[:] = handlers
    logging.getLogger("serving").setLevel(level)


@pytest.fixture(scope="session")
def reference(export):
    """The signatures as Python's own loader of SavedModels gives them: what must come out."""
    return tf.saved_model.load(export).signatures


@pytest.fixture(scope="session")
def expected(reference):
    """Scores of the rank request that tests send again and again."""
    inputs = {name: tf.constant(value) for name, value in rank_inputs().items()}
    return reference["rank"](**inputs)["scores"].numpy()


@pytest.fixture(scope="session")
def light(export, tmp_path_factory):
    """The export with the last of its warm-up requests alone, so that a load is quick."""
    folder = tmp_path_factory.mktemp("light") / "model"
    shutil.copytree(export, folder)
    *_, last = tf.data.TFRecordDataset(str(folder / WARMUP)).as_numpy_iterator()
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
        writer.write(last)
    return folder


@pytest.fixture(scope="session")
def running(export, tmp_path_factory):
    """A server with one version, which all tests share."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(export, folder / "imn" / "1")
    server = Running(folder, Limits(queue=64, seconds=60.0))  # for a machine with other work
    yield server
    server.stop()
