"""What Prometheus reads, by the names and labels of TF Serving's sources."""

import base64
import re
import socket
import time

import grpc
import pytest
from tensorflow_serving.apis import regression_pb2

from serving.limits import Deadline
from tests.serving.test_labels import rank_body
from tests.support.raw_examples import example, raw_sample
from tests.support.serving_requests import predict_request, rank_inputs

PATH = "/monitoring/prometheus/metrics"  # PrometheusExporter::kPrometheusPath
REQUESTS, LATENCY, RUNTIME = (
    f":tensorflow:serving:{name}"
    for name in ("request_count", "request_latency", "runtime_latency")
)
EXAMPLE = example(raw_sample(6, [b"i001"], b"i003"))


class Scraped:
    """The samples of one answer."""

    def __init__(self, server):
        status, text, headers = server.raw(PATH)
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain")
        self.text = text.decode()
        # Line by line: the parser of `prometheus_client` gives counters a suffix of its own.
        lines = (
            re.fullmatch(r"([^{ ]+)(?:{(.*)})? (\S+)", line) for line in self.text.splitlines()
        )
        self.samples = {
            (line[1], frozenset(re.findall(r'(\w+)="(.*?)"', line[2] or ""))): float(line[3])
            for line in lines
            if line and not line[0].startswith("#")
        }

    def value(self, name, **labels):
        return self.samples.get((name, frozenset(labels.items())), 0)


def added(server, action):
    """Gives a function that tells how much `action` added to a sample."""
    before = Scraped(server)
    action()
    after = Scraped(server)
    return lambda name, **labels: after.value(name, **labels) - before.value(name, **labels)


def test_requests_are_counted_by_model_and_status(running):
    def ask():
        for _ in range(3):
            running.rank()
        for _ in range(2):
            running.http("/v1/models/imn:predict", rank_body())
        running.http("/v1/models/imn:predict", b"{")
        with pytest.raises(grpc.RpcError):
            running.stub.Predict(predict_request(rank_inputs(), "best"), 20)
        running.http("/v1/models/imn/versions/9:predict", rank_body())

    more = added(running, ask)
    assert more(REQUESTS, model_name="imn", status="OK") == 5
    assert more(REQUESTS, model_name="imn", status="INVALID_ARGUMENT") == 2
    assert more(REQUESTS, model_name="imn", status="NOT_FOUND") == 1
    assert f"# TYPE {REQUESTS} counter\n" in Scraped(running).text


def posted(running, headers, body):
    """What the server sends to a POST of bytes. A client that sends less than a body hangs up."""
    head = f"POST /v1/models/imn:predict HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", running.rest_port), 20) as client:
        client.sendall(head + body)
        return "" if body.endswith(b"{") else client.recv(10_000).decode()


@pytest.mark.parametrize(
    ("headers", "body", "answer", "status"),
    [
        (f"Content-Length: {5 << 20}", b"x" * (5 << 20), "413", "RESOURCE_EXHAUSTED"),
        ("Content-Length: 9", b"{", "", "CANCELLED"),
        ("Transfer-Encoding: chunked", b"9\r\n{", "", "CANCELLED"),
        ("Content-Length: 9\r\nContent-Encoding: gzip", b"no gzip!!", "400", "INVALID_ARGUMENT"),
    ],
)
def test_a_fault_of_the_client_is_none_of_the_server(running, headers, body, answer, status):
    before = Scraped(running)
    answered = posted(running, headers, body)
    assert answered[len("HTTP/1.1 ") :][: len(answer)] == answer
    end = time.monotonic() + 20
    while not Scraped(running).value(REQUESTS, model_name="imn", status=status) - before.value(
        REQUESTS, model_name="imn", status=status
    ):
        assert time.monotonic() < end, Scraped(running).text
        time.sleep(0.02)
    for fault in ("INTERNAL", "OK"):
        labels = {"model_name": "imn", "status": fault}
        assert Scraped(running).value(REQUESTS, **labels) == before.value(REQUESTS, **labels)


def test_latencies_are_those_of_answers_in_microseconds(running):
    start = time.perf_counter()

    def ask():
        for _ in range(4):
            running.rank()
        running.http("/v1/models/imn:predict", rank_body())
        running.http("/v1/models/imn:predict", b"{")

    more = added(running, ask)
    most = (time.perf_counter() - start) * 1e6
    over_grpc = {"model_name": "imn", "API": "Predict", "entrypoint": "GRPC"}
    over_rest = {"model_name": "imn", "API": "predict", "entrypoint": "REST"}
    assert more(f"{LATENCY}_count", **over_grpc) == 4
    assert more(f"{LATENCY}_count", **over_rest) == 1
    run = {"model_name": "imn", "API": "Predict", "runtime": "TF1"}
    assert more(f"{RUNTIME}_count", **run) == 5
    requests = more(f"{LATENCY}_sum", **over_grpc) + more(f"{LATENCY}_sum", **over_rest)
    # A run is a part of its request, and takes some milliseconds at most on any machine.
    assert 5 * 50 < more(f"{RUNTIME}_sum", **run) < requests < most


def test_buckets_are_tf_serving_s(running):
    running.rank()
    found = re.findall(
        rf'^{LATENCY}_bucket{{API="Predict",entrypoint="GRPC",le="(.*?)",',
        Scraped(running).text,
        re.M,
    )
    assert found[:5] == ["10.0", "18.0", "32.4", "58.32", "104.976"]
    assert float(found[32]) == pytest.approx(10 * 1.8**32, rel=1e-5)  # 24 minutes
    assert found[33:] == ["+Inf"]


def test_examples_are_counted_as_examples(running):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "imn", "regress"
    for _ in range(3):
        request.input.example_list.examples.add().ParseFromString(EXAMPLE)
    body = {"instances": [{"b64": base64.b64encode(EXAMPLE).decode()}]}

    def ask():
        running.stub.Regress(request, 20)
        assert running.http("/v1/models/imn:predict", body)[0] == 200  # Predict has no Examples

    more = added(running, ask)
    assert more(":tensorflow:serving:request_example_count_total", model="imn") == 3
    assert more(":tensorflow:serving:request_example_counts_count", model="imn") == 1
    assert more(f"{RUNTIME}_count", model_name="imn", API="Regress", runtime="TF1") == 1


def test_names_that_are_no_model_add_no_series(running):
    def ask():
        for number in range(20):
            running.http(f"/v1/models/name{number}")
            with pytest.raises(grpc.RpcError):
                running.stub.Predict(predict_request(rank_inputs(), name=f"name{number}"), 20)

    more = added(running, ask)
    assert more(REQUESTS, model_name="", status="NOT_FOUND") == 40
    assert "name7" not in Scraped(running).text


def test_the_queue_is_seen_while_it_is_full(running):
    with running.service.admission.slot(Deadline(1)), running.service.admission.slot(Deadline(1)):
        call = running.stub.Predict.future(predict_request(rank_inputs()), 20)
        end = time.monotonic() + 20
        while not (seen := Scraped(running)).value("imn_serving_queue_requests"):
            assert time.monotonic() < end
        assert seen.value("imn_serving_queue_requests") == 1
        assert seen.value("imn_serving_running_requests") == 2
        waited = seen.value("imn_serving_queue_seconds_count")
    call.result()
    after = Scraped(running)
    assert after.value("imn_serving_queue_requests") == 0
    assert after.value("imn_serving_queue_seconds_count") == waited + 1


def test_versions_and_their_loads(running):
    found = Scraped(running)
    labels = {"model_name": "imn", "version": "1", "state": "AVAILABLE"}
    assert found.value("imn_serving_model_version", **labels) == 1
    loads = re.findall(
        r'^:tensorflow:cc:saved_model:load_attempt_count{model_path=".*/imn/1",status="(\w+)"} 1.0',
        found.text,
        re.M,
    )
    assert loads == ["success"]
    records = re.findall(
        r'^:tensorflow:serving:model_warmup_records_read{model_path=".*/imn/1",status="OK"} (\d+)',
        found.text,
        re.M,
    )
    assert int(records[0]) > 0
    assert found.value("process_resident_memory_bytes") > 1e6
