"""Requests that are broken, absurd or abandoned: a clear status, and the next one is answered."""

import base64
import json
import shutil
import socket
import struct
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2

from serving import grpc_api
from serving.limits import Deadline, Limits
from serving.rest import paths
from tests.support.raw_examples import NOW, example, raw_sample
from tests.support.serving_requests import Running, predict_request, rank_inputs

PREDICT = "/v1/models/imn:predict"
INVALID = grpc.StatusCode.INVALID_ARGUMENT
GOOD = predict_request(rank_inputs()).SerializeToString()
SERVICE = "/tensorflow.serving.PredictionService/"


@pytest.fixture(autouse=True)
def and_then_a_good_request(running, expected):
    yield
    np.testing.assert_allclose(running.rank(), expected, atol=1e-6)
    status, _ = running.http("/v1/models/imn")
    assert status == 200


def send(running, data, method="Predict", seconds=20):
    """Status and message of a request in bytes; OK for one that is answered."""
    try:
        running.channel.unary_unary(SERVICE + method)(data, timeout=seconds)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def refused(running, inputs, signature="rank"):
    """The message of the refusal of a Predict request."""
    code, message = send(running, predict_request(inputs, signature).SerializeToString())
    assert code == INVALID, (code, message)
    return message


def rest(running, body, path=PREDICT):
    status, answer = running.http(path, body)
    return status, answer.get("error", "")


def columns(**changes):
    plain = {name: value.tolist() for name, value in rank_inputs().items()}
    for name in ("history_item", "candidates"):
        plain[name] = [[item.decode() for item in row] for row in plain[name]]
    return {"signature_name": "rank", "inputs": plain | changes}


@pytest.mark.parametrize("method", ["Predict", "Classify", "Regress", "GetModelMetadata"])
def test_truncated_protobufs(running, method):
    for end in range(1, len(GOOD), 13):
        code, message = send(running, GOOD[:end], method)
        # Some prefixes are whole messages that lack a model, a signature or inputs.
        assert code in (INVALID, grpc.StatusCode.NOT_FOUND), (end, code, message)
        assert message


def test_protobufs_with_bytes_changed(running):
    rng = np.random.default_rng(7)
    for _ in range(200):
        data = bytearray(GOOD)
        for place in rng.integers(0, len(data), 2):
            data[place] = rng.integers(256)
        code, message = send(running, bytes(data))
        # A changed id is another id, a changed name another model.
        assert code in (INVALID, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OK), message


def test_bytes_that_are_no_examples(running):
    assert "parse" in refused(running, {"examples": np.array([b"\xff" * 9], object)}, "").lower()
    cut = example(raw_sample(6, [b"i001"], b"i003"))[:-3]
    assert "parse" in refused(running, {"examples": np.array([cut], object)}, "")
    assert len(refused(running, {"examples": np.array([b"\xff" * 10**6], object)}, "")) <= 500
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "imn", "classify"
    code, message = send(running, request.SerializeToString(), "Classify")
    assert (code, "one Example or more" in message) == (INVALID, True)
    request.input.example_list.examples.add()  # without any feature
    code, message = send(running, request.SerializeToString(), "Classify")
    assert (code, "history_item" in message) == (INVALID, True)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("history_item", np.zeros((1, 3), np.int64), "must be of type string"),
        ("history_time", np.zeros((1, 3), np.int32), "must be of type int64"),
        ("history_time", np.zeros((1, 3), np.float32), "must be of type int64"),
        ("candidates", np.ones((1, 3), np.float64), "must be of type string"),
        ("candidates", np.array([b"i001"], object), "must have the shape"),
        ("candidates", np.array([[[b"i001"]]], object), "must have the shape"),
        ("request_time", np.array(NOW), "must have the shape"),
        ("request_time", np.array([NOW, NOW]), "request_time"),
        ("history_time", np.zeros((1, 2), np.int64), "history_time"),
        ("history_length", np.zeros((2,), np.int64), "history_length"),
        ("candidates", np.array([[b"a"], [b"b"]], object), "candidates"),
    ],
)
def test_wrong_types_and_shapes(running, name, value, says):
    assert says in refused(running, rank_inputs() | {name: value})


def test_inputs_that_lack_or_are_too_many(running):
    inputs = rank_inputs()
    del inputs["request_time"]
    assert "Missing: `request_time`" in refused(running, inputs)
    assert "Unknown: `user`" in refused(running, rank_inputs() | {"user": np.array([b"u"])})
    assert "Received: `best`" in refused(running, rank_inputs(), "best")


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((1 << 40, 1 << 20), "at most"),
        ((0, 1 << 40), "at most"),
        ((-1, 3), "shape"),
        ((1, 2), "must match its shape"),
    ],
)
def test_a_shape_that_its_values_do_not_fill(running, shape, says):
    proto = tf.make_tensor_proto(rank_inputs()["candidates"])
    del proto.tensor_shape.dim[:]
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    assert says in refused(running, rank_inputs() | {"candidates": proto})


def test_a_hundred_thousand_and_a_million_candidates(running):
    many = np.array([[b"i001"] * 10**5], object)
    assert "at most 2,000" in refused(running, rank_inputs() | {"candidates": many})
    status, error = rest(running, columns(candidates=[["i001"] * 10**5]))
    assert (status, "at most 2,000" in error) == (400, True)
    longer = np.array([[b"i%020d" % 1] * 10**6], object)
    data = predict_request(rank_inputs() | {"candidates": longer}).SerializeToString()
    assert send(running, data)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rest(running, columns(candidates=[["i" * 20] * 10**6]))[0] == 413


def test_negative_and_huge_times(running):
    for time_ in (-1, -(1 << 63), NOW + 10**9):
        inputs = rank_inputs()
        inputs["history_time"][:] = time_
        for now in (NOW, time_):
            inputs["request_time"][:] = now
            answer = running.stub.Predict(predict_request(inputs), 20)
            scores = tf.make_ndarray(answer.outputs["scores"])
            assert ((scores > 0) & (scores < 1)).all()
    for odd in (NOW * 1_000, (1 << 63) - 1):
        expected = (
            "`{}` must be Unix seconds before the year 2100. "
            f"Received: {odd}. Divide milliseconds by 1,000."
        )
        for name, value in (("request_time", [odd]), ("history_time", [[NOW, odd, NOW]])):
            answer = rest(running, columns(**{name: value}))
            assert answer == (400, expected.format(name))
            inputs = rank_inputs() | {name: np.array(value, np.int64)}
            assert refused(running, inputs) == expected.format(name)
    for odd in (1 << 63, -(1 << 70), 1e300, 0.5, "now", None, True):
        status, error = rest(running, columns(request_time=[odd]))
        assert (status, "`request_time`" in error) == (400, True)


def test_ids_that_are_no_text(running):
    inputs = rank_inputs([b"\xff\xfe", b"\x00"], [b"\xff\xfe", b"\xc3\x28", b""])
    scores = tf.make_ndarray(running.stub.Predict(predict_request(inputs), 20).outputs["scores"])
    assert ((scores > 0) & (scores < 1)).all()
    encoded = [[{"b64": base64.b64encode(item).decode()} for item in inputs["candidates"][0]]]
    history = [[{"b64": base64.b64encode(item).decode()} for item in inputs["history_item"][0]]]
    body = columns(candidates=encoded, history_item=history, history_length=[2])
    body["inputs"]["history_time"] = inputs["history_time"].tolist()
    _, answer = running.http(PREDICT, body)
    np.testing.assert_allclose(answer["outputs"], scores, atol=1e-6)
    raw = json.dumps(columns()).encode().replace(b"i003", b"i\xff3")
    assert rest(running, raw)[0] == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"instances": []}',
        b'{"instances": 3}',
        b'{"instances": [{"examples": {"b64": "?"}}]}',
        b'{"instances": ["\\ud800"]}',
        b'{"instances": [[["a"]]]}',
        b'{"instances": [1e999]}',
        b'{"instances": ["a"], "inputs": ["a"]}',
        b'{"instances": ["a"], "signature_name": 7}',
        b'{"instances": ["a"], "signature_name": "\\ud800"}',
        b'{"signature_name": "rank", "inputs": {"history_item": [["a"], ["b", "c"]]}}',
        b'{"signature_name": "rank", "inputs": "a"}',
        b'{"signature_name": "rank", "instances": [{"candidates": ["a"]}, {"b64": 1}]}',
    ],
)
def test_odd_bodies(running, body):
    status, error = rest(running, body)
    assert (status, bool(error)) == (400, True)


@pytest.mark.parametrize("rows", [[[], ["a"]], [["a"], []], [["a"], "a"], [["a", "b"], ["c"]]])
def test_rows_of_different_lengths(running, rows):
    status, error = rest(running, columns(history_item=rows))
    assert (status, error) == (
        400,
        "`history_item` must have rows of the same length and depth.",
    )


@pytest.mark.parametrize(
    "examples",
    [
        3,
        [],
        [3],
        [{"\ud800": 1}],
        [{"label": [True]}],
        [{"label": {"b64": 3}}],
        [{"label": [1 << 70]}],
    ],
)
def test_odd_examples(running, examples):
    body = {"signature_name": "regress", "examples": examples}
    status, error = rest(running, body, "/v1/models/imn:regress")
    assert (status, bool(error)) == (400, True)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/v1/models/imn:explain", 404),
        ("/v1/models/other:predict", 404),
        ("/v1/models/imn/versions/7:predict", 404),
        ("/v1/models/imn/versions/-1:predict", 404),
        ("/v1/models/%ff:predict", 404),
        ("/v1/models/../../etc/passwd", 404),
    ],
)
def test_odd_paths(running, path, status):
    assert rest(running, columns(), path)[0] == status


def connected(port):
    return socket.create_connection(("127.0.0.1", port), 20)


def test_a_hundred_clients_that_hang_up_half_way(running):
    """Of either protocol; more than have a place in the queue, so none may be left taken."""
    body = json.dumps(columns()).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    whole, reset = head + body, struct.pack("ii", 1, 0)
    for number in range(100):
        with connected(running.rest.port) as client:
            # Within the head, within the body, or after all of it without reading the answer.
            client.sendall(whole[: [20, len(head) + 30, len(whole)][number % 3]])
            if number % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    calls = [running.stub.Predict.future(predict_request(rank_inputs()), 20) for _ in range(100)]
    for deadline in calls:
        deadline.cancel()
    for start in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00", b"\xff" * 100):
        with connected(running.grpc.port) as client:
            client.sendall(start)
    assert soon(lambda: send(running, GOOD)[0] == grpc.StatusCode.OK)
    assert soon(lambda: running.http("/v1/models/imn")[0] == 200)


def soon(holds):
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def narrow(export, tmp_path_factory):
    """A server in which one request computes and two wait, for half a second at most."""
    folder = tmp_path_factory.mktemp("narrow")
    shutil.copytree(export, folder / "imn" / "1")
    server = Running(folder, Limits(running=1, queue=2, seconds=0.5))
    yield server
    server.stop()


def test_a_full_queue_refuses_and_does_not_grow(narrow, expected):
    with narrow.service.admission.slot(Deadline(1)):
        calls = [narrow.stub.Predict.future(predict_request(rank_inputs()), 20) for _ in range(9)]
        assert soon(lambda: sum(deadline.done() for deadline in calls) == 7)
        assert narrow.http(PREDICT, columns())[0] == 429
    codes = [deadline.code() for deadline in calls]
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 7
    assert codes.count(grpc.StatusCode.OK) == 2
    np.testing.assert_allclose(narrow.rank(), expected, atol=1e-6)


def test_a_body_is_parsed_only_in_its_turn(narrow, monkeypatch):
    """Parsed, 4 MiB of `[]` are 90 MB: as many at a time as requests compute, not as wait."""
    parsed = []
    monkeypatch.setattr(paths, "_parse", lambda body: parsed.append(body) or {})
    monkeypatch.setattr(grpc_api, "_parsed", lambda kind, data: parsed.append(data) or kind())
    with narrow.service.admission.slot(Deadline(1)):
        assert narrow.http(PREDICT, b"{")[0] == 504
        assert send(narrow, b"\xff")[0] == grpc.StatusCode.DEADLINE_EXCEEDED
        assert not parsed
    assert narrow.http(PREDICT, b"{")[0] == 400
    assert send(narrow, b"\xff")[0] == grpc.StatusCode.NOT_FOUND
    assert parsed == [b"{", b"\xff"]


def test_what_is_asked_out_of_turn_is_small(running):
    code, message = send(running, GOOD * 1000, "GetModelMetadata")
    assert (code, "at most 65,536 bytes" in message) == (INVALID, True)


def test_reading_the_body_takes_from_the_time_of_the_request(running, monkeypatch):
    body = json.dumps(columns()).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    left, slot = [], running.service.admission.slot
    monkeypatch.setattr(
        running.service.admission,
        "slot",
        lambda deadline: left.append(deadline.left()) or slot(deadline),
    )
    with connected(running.rest.port) as client:
        client.sendall(head + body[:9])
        time.sleep(0.3)
        client.sendall(body[9:])
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    assert left[0] < running.service.limits.seconds - 0.25


def test_a_request_has_only_so_much_time(narrow, expected):
    with narrow.service.admission.slot(Deadline(1)):
        assert send(narrow, GOOD, seconds=20)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
        assert send(narrow, GOOD, seconds=0.1)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
        assert narrow.http(PREDICT, columns())[0] == 504
    with connected(narrow.rest.port) as client:  # a body that never comes
        client.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 504 ")
    np.testing.assert_allclose(narrow.rank(), expected, atol=1e-6)
