"""A stop while versions load: the server never gets ready, and its process ends."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving import server
from serving.registry import ModelRegistry
from serving.versions import Policy
from tests.serving.conftest import WARMUP
from tests.support.serving_requests import predict_request

MOST_SECONDS = 40  # far below the minute that a warm-up request may take


class Counting(tf.Module):
    """A model whose request takes as long as `x` is large."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64, name="x")])
    def answer(self, x):
        return {"y": tf.while_loop(lambda i: i < x, lambda i: i + 1, [tf.constant(0, tf.int64)])[0]}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A SavedModel that loads at once."""
    folder = tmp_path_factory.mktemp("quick") / "model"
    module = Counting()
    tf.saved_model.save(module, str(folder), {"serving_default": module.answer})
    return folder


@pytest.fixture(scope="module")
def endless(quick, tmp_path_factory):
    """A SavedModel whose warm-up does not come to its end."""
    folder = tmp_path_factory.mktemp("endless") / "model"
    shutil.copytree(quick, folder)
    log = prediction_log_pb2.PredictionLog()
    inputs = {"x": np.array(1 << 60)}
    log.predict_log.request.CopyFrom(predict_request(inputs, "serving_default"))
    (folder / WARMUP).parent.mkdir()
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
        writer.write(log.SerializeToString())
    return folder


class Process:
    """The server's process, and what it says."""

    def __init__(self, models, grace):
        command = [sys.executable, "-m", "serving.server", "--grpc-port=0", "--rest-port=0"]
        self.process = subprocess.Popen(
            [*command, f"--models={models}", "--poll-seconds=0.1", f"--grace-seconds={grace}"],
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def text(self):
        return "".join(self.lines)

    def says(self, words):
        end = time.monotonic() + MOST_SECONDS
        while words not in self.text:
            assert time.monotonic() < end, self.lines
            time.sleep(0.05)

    def warms_up(self, folder):
        """Waits until it answers the warm-up request of a version: then it has the file open."""
        end = time.monotonic() + MOST_SECONDS
        while not any(
            file.path == str(folder / WARMUP)
            for file in psutil.Process(self.process.pid).open_files()
        ):
            assert time.monotonic() < end, self.lines
            time.sleep(0.05)

    def ended(self):
        """The exit status."""
        return self.process.wait(MOST_SECONDS)


@pytest.fixture
def start():
    started = []

    def run(models, grace):
        started.append(Process(models, grace))
        return started[-1]

    yield run
    for each in started:
        each.process.kill()
        each.process.wait()


def test_a_process_ends_while_a_new_version_warms_up(start, quick, endless, tmp_path):
    shutil.copytree(quick, tmp_path / "counting" / "1")
    process = start(tmp_path, grace=0.2)
    process.says("Ready")
    shutil.copytree(endless, tmp_path / "pushing")
    (tmp_path / "pushing").rename(tmp_path / "counting" / "2")
    process.warms_up(tmp_path / "counting" / "2")
    process.process.send_signal(signal.SIGTERM)
    process.says("Stopped.")
    assert process.ended() == 0, process.text
    assert "version 2" not in process.text


def test_a_signal_during_the_first_load_stops_it_and_a_second_one_ends_it(start, endless, tmp_path):
    shutil.copytree(endless, tmp_path / "counting" / "1")
    stopping, killed = start(tmp_path, grace=0.2), start(tmp_path, grace=600)
    for process in (stopping, killed):
        process.warms_up(tmp_path / "counting" / "1")
        process.process.send_signal(signal.SIGTERM)
        process.says("Stopping.")
    assert stopping.ended() == 0, stopping.text
    time.sleep(2 * server._REPEAT_SECONDS)
    assert killed.process.poll() is None
    killed.process.send_signal(signal.SIGINT)
    assert killed.ended() == 128 + signal.SIGINT
    assert ["Stopped." in each.text for each in (stopping, killed)] == [True, False]
    for process in (stopping, killed):
        assert "Ready" not in process.text
        assert "Traceback" not in process.text


@pytest.mark.parametrize(
    ("seconds", "ends"),
    [([0], []), ([0, 0.01], []), ([0, 0.6], [143]), ([0, 0.4, 0.6], [143])],
)
def test_the_second_signal_is_not_a_repeat_of_the_first(monkeypatch, seconds, ends):
    """`timeout` sends its signal to the process, and again to its group."""
    handlers, ended = {}, []
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(os, "_exit", ended.append)
    stop = server._stop_at_a_signal()
    assert not stop.is_set()
    for second in seconds:
        monkeypatch.setattr(time, "monotonic", lambda: 7 + second)  # noqa: B023
        handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert (stop.is_set(), ended) == (True, ends)


class Version:
    def close(self):
        pass


@pytest.mark.parametrize("close_at", [1, 2, 3])
def test_nothing_is_loaded_after_a_stop(tmp_path, close_at):
    """Two models with two versions each: the stop comes during one of the four loads."""
    for name in ("a/1", "a/2", "b/1", "b/2"):
        (tmp_path / name).mkdir(parents=True)
    loads = []

    def load(folder):
        loads.append(folder)
        if len(loads) == close_at:
            closing = threading.Thread(target=registry.close, args=(0,))  # waits for no load
            closing.start()
            closing.join()
        return Version()

    registry = ModelRegistry(str(tmp_path), load, Policy(newest=2))
    assert registry.watch(1000.0).wait(MOST_SECONDS)
    assert len(loads) == close_at


def test_the_first_look_is_at_once(tmp_path):
    (tmp_path / "a" / "1").mkdir(parents=True)
    registry = ModelRegistry(str(tmp_path), lambda folder: Version())
    assert registry.watch(1000.0).wait(MOST_SECONDS)
    assert registry.available
    registry.close()
