"""New versions under way: swapped without a lost request, refused where they do not work."""

import base64
import gc
import os
import shutil
import sys
import threading
import time
import weakref

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.limits import Limits
from serving.model import Model
from serving.registry import ModelRegistry
from serving.service import Service
from serving.versions import Versions, versions
from tests.support.raw_examples import example, raw_sample
from tests.support.serving_requests import Running, predict_request, rank_inputs

WARMUP = "assets.extra/tf_serving_warmup_requests"


@pytest.fixture(scope="module")
def models(light, tmp_path_factory):
    folder = tmp_path_factory.mktemp("versions")
    shutil.copytree(light, folder / "imn" / "1")
    return folder


@pytest.fixture(scope="module")
def server(models):
    """One server for all: each test starts from what the one before left."""
    server = Running(models)
    yield server
    server.stop()


@pytest.fixture
def push(light, models, server):
    """Puts the export under the next version, as the pusher does; gives its number."""

    def run(change=lambda folder: None):
        version = served(server) + 1
        temporary = models / "imn" / ".pushing"
        shutil.copytree(light, temporary)
        change(temporary)
        temporary.rename(models / "imn" / str(version))
        server.service.registry.poll()
        return version

    return run


def states(server):
    _, answer = server.http("/v1/models/imn")
    return [(int(row["version"]), row["state"]) for row in answer["model_version_status"]]


def served(server):
    answer = server.stub.Predict(predict_request(rank_inputs()), 20)
    return answer.model_spec.version.value


def test_the_newest_version_is_served_and_the_one_before_is_gone(server, push, models, expected):
    assert push() == served(server) == 2
    shutil.copytree(models / "imn" / "1", models / "imn" / "0")  # comes later, is older
    server.service.registry.poll()
    assert states(server) == [(2, "AVAILABLE")]
    np.testing.assert_allclose(server.rank(), expected, atol=1e-6)
    status, _ = server.http("/v1/models/imn/versions/1:predict", {"instances": ["x"]})
    assert status == 404


def test_swaps_lose_no_request(server, push, expected):
    """Six clients ask without a pause, over both protocols, while two versions come."""
    stop, failures, seen = threading.Event(), [], set()
    encoded = base64.b64encode(example(raw_sample(6, [b"i001"], b"i003"))).decode()
    body = {"instances": [{"b64": encoded}]}

    def ask(over_rest):
        while not stop.is_set():
            try:
                if over_rest:
                    status, answer = server.http("/v1/models/imn:predict", body)
                    assert status == 200, answer
                else:
                    # Long enough for a machine with other work.
                    answer = server.stub.Predict(predict_request(rank_inputs()), 60)
                    seen.add(answer.model_spec.version.value)
                    scores = tf.make_ndarray(answer.outputs["scores"])
                    np.testing.assert_allclose(scores, expected, atol=1e-6)
            except Exception as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=ask, args=(number % 2,)) for number in range(6)]
    for thread in threads:
        thread.start()
    versions = {served(server), push(), push()}
    assert served(server) == max(versions)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(versions & seen) >= 2


def cut_variables(folder):
    (data,) = (folder / "variables").glob("*.data*")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])


def wrong_warmup(folder):
    log = prediction_log_pb2.PredictionLog()
    request = predict_request(rank_inputs() | {"request_time": np.array([1, 2])})
    log.predict_log.request.CopyFrom(request)
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
        writer.write(log.SerializeToString())


def no_number(folder):
    """Another model, which answers its warm-up request with what is no number."""

    class Broken(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def score(self, examples):
            return {"score": 0.0 / tf.zeros_like(examples, tf.float32)}

    module = Broken()
    log = prediction_log_pb2.PredictionLog()
    inputs = {"examples": np.array([b"x"], object)}
    log.predict_log.request.CopyFrom(predict_request(inputs, "serving_default"))
    shutil.rmtree(folder)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.score})
    (folder / WARMUP).parent.mkdir()
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
        writer.write(log.SerializeToString())


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda folder: (folder / "saved_model.pb").write_bytes(b"\x0a\xff"), "Cannot parse"),
        (lambda folder: (folder / "saved_model.pb").unlink(), "saved_model.pb"),
        (lambda folder: shutil.rmtree(folder / "variables"), "variables"),
        (lambda folder: shutil.rmtree(folder / "assets"), "No such file"),
        (cut_variables, "less bytes"),
        (lambda folder: (folder / WARMUP).write_bytes(b"no records" * 9), "corrupted"),
        (wrong_warmup, "request_time"),
        (no_number, "not finite"),
    ],
    ids=[
        "bytes",
        "no graph",
        "no variables",
        "no ids",
        "cut",
        "no warm-up",
        "warm-up",
        "not finite",
    ],
)
def test_a_broken_version_is_refused_and_the_old_one_answers(
    server, push, models, expected, broken, says
):
    before = served(server)
    version = push(broken)
    assert states(server) == [(version, "END"), (before, "AVAILABLE")]
    _, answer = server.http(f"/v1/models/imn/versions/{version}")
    (row,) = answer["model_version_status"]
    assert row["status"]["error_code"] == "UNKNOWN"
    assert says in row["status"]["error_message"]
    np.testing.assert_allclose(server.rank(), expected, atol=1e-6)
    assert served(server) == before
    shutil.rmtree(models / "imn" / str(version))
    server.service.registry.poll()
    assert states(server) == [(before, "AVAILABLE")]


def test_a_version_that_is_half_written_is_served_once_it_is_whole(server, light, models):
    """Copied straight into its folder, as `cp -r` does, with looks at it in between."""
    before = served(server)
    folder = models / "imn" / str(before + 1)
    shutil.copytree(light, folder, ignore=shutil.ignore_patterns("variables", "assets"))
    for part in ("assets", "variables"):
        server.service.registry.poll()
        assert served(server) == before
        shutil.copytree(light / part, folder / part)
    server.service.registry.poll()
    assert served(server) == before + 1


def test_the_limits_of_requests_are_not_those_of_warm_up(export, tmp_path):
    """The export's own requests have 200 candidates, and 2 Examples."""
    shutil.copytree(export, tmp_path / "imn" / "1")
    service = Service(str(tmp_path), Limits(candidates=1, rows=1, values=1, seconds=1e-3))
    service.registry.poll()
    assert [state.error for state in service.registry.model("imn").states()] == [""]
    service.registry.close()


def test_a_refused_version_is_looked_at_again_only_when_its_files_change(tmp_path):
    loads = []

    def load(path):
        loads.append(path)
        raise ValueError("broken")

    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"")
    versions = Versions("imn", str(tmp_path), load)
    for _ in range(3):
        versions.poll()
    assert len(loads) == 1
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"more")
    versions.poll()
    assert len(loads) == 2


def test_a_refused_version_gets_another_chance_after_a_while(tmp_path, monkeypatch):
    class Model:
        def close(self):
            pass

    outcomes = [OSError("a hiccup"), Model()]

    def load(path):
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    (tmp_path / "1").mkdir()
    versions = Versions("imn", str(tmp_path), load)
    now = time.monotonic()
    for seconds, available in ((0, False), (59, False), (61, True)):
        monkeypatch.setattr(time, "monotonic", lambda s=seconds: now + s)
        versions.poll()
        assert versions.available == available


def test_folders_that_are_versions(tmp_path):
    most = (1 << 63) - 1  # the protocol's int64
    for name in ("0", "7", str(most), str(most + 1), "9" * 40, "07", "-1", "v2"):
        (tmp_path / name).mkdir()
    assert set(versions(str(tmp_path))) == {0, 7, most}


def test_closing_does_not_wait_for_a_load(tmp_path):
    started, go_on = threading.Event(), threading.Event()

    def load(path):
        started.set()
        assert go_on.wait(60)
        raise ValueError("too late")

    (tmp_path / "imn" / "1").mkdir(parents=True)
    catalog = ModelRegistry(str(tmp_path), load)
    catalog.watch(0.01)
    assert started.wait(20)
    closing = threading.Thread(target=catalog.close, args=(0.1,))
    closing.start()
    closing.join(20)
    assert not closing.is_alive()
    go_on.set()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux")
def test_the_next_version_warms_up_at_a_low_priority_and_requests_do_not_run_at_it(
    server, push, monkeypatch
):
    at = {}
    original = {name: getattr(Model, name) for name in ("warm_up", "run")}

    def noted(name):
        def call(model, *arguments):
            thread = threading.current_thread().name.split("_")[0]
            at.setdefault((name, thread), set()).add(os.nice(0))
            return original[name](model, *arguments)

        return call

    for name in original:
        monkeypatch.setattr(Model, name, noted(name))
    usual = os.nice(0)
    push()
    server.rank()
    low = min(usual + 10, 19)
    assert at == {
        ("warm_up", "low-priority"): {low},
        ("run", "low-priority"): {low},
        ("run", "grpc"): {usual},
    }


def test_a_model_without_a_version_that_works_is_unavailable(server, models):
    (models / "other" / "1").mkdir(parents=True)
    server.service.registry.poll()
    for name, code, says in (
        ("other", grpc.StatusCode.UNAVAILABLE, "No version of model `other`"),
        ("third", grpc.StatusCode.NOT_FOUND, "Served: `imn`, `other`"),
    ):
        with pytest.raises(grpc.RpcError) as refusal:
            server.stub.Predict(predict_request(rank_inputs(), name=name), 20)
        assert refusal.value.code() == code
        assert says in refusal.value.details()
    shutil.rmtree(models / "other")


def test_swaps_end_sessions_when_their_last_request_has_ended(server, push, expected):
    """Memory is flat: of three versions none is left but the one that is served."""
    loaded, before = [], sessions()
    with server.service.registry.model("imn").use() as (version, model):
        loaded.append(weakref.ref(model))
        push()
        loaded.append(weakref.ref(current(server)))
        assert served(server) == version + 1
        scores = model.run(model.signatures["rank"], rank_inputs(), 20)["scores"]
        np.testing.assert_allclose(scores, expected, atol=1e-6)
    del model
    push()
    loaded.append(weakref.ref(current(server)))
    server.rank()
    assert sessions() == before
    assert [of() is None for of in loaded] == [True, True, False]


def sessions():
    gc.collect()
    return len([of for of in gc.get_objects() if isinstance(of, tf.compat.v1.Session)])


def current(server):
    with server.service.registry.model("imn").use() as (_, model):
        return model
