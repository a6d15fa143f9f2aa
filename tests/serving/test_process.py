"""The command behind `make serve`, in a process of its own, from its start to SIGTERM."""

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving import addresses, server
from serving.grpc_api import GrpcServer
from serving.limits import Limits
from serving.rest.server import RestServer
from tests.support.raw_examples import example, raw_sample
from tests.support.serving_requests import Asking, predict_request, rank_inputs

COMMAND = [sys.executable, "-m", "serving.server", "--grpc-port=0", "--rest-port=0"]


class Process(Asking):
    """The server's process; `lines` is what it has said."""

    def __init__(self, models):
        self.process = subprocess.Popen(
            [*COMMAND, "--models", str(models), "--poll-seconds=0.1", "--grace-seconds=20"],
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},  # as `make serve`
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines, ready = [], None
        while ready is None:
            line = self.process.stderr.readline()
            assert line, self.lines
            self.lines.append(line)
            ready = re.search(r"Ready: gRPC on .*:(\d+), REST on http://.*?:(\d+)/", line)
        super().__init__(*map(int, ready.groups()))
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        self.lines += self.process.stderr

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def models(export, tmp_path_factory):
    folder = tmp_path_factory.mktemp("process")
    shutil.copytree(export, folder / "imn" / "1")
    return folder


@pytest.fixture(scope="module")
def process(models):
    process = Process(models)
    yield process
    process.stop()


def test_it_answers_on_the_loopback_interface_alone(process, expected):
    np.testing.assert_allclose(process.rank(), expected, atol=1e-6)
    status, answer = process.http("/v1/models/imn")
    assert (status, answer["model_version_status"][0]["version"]) == (200, "1")
    stub = health_pb2_grpc.HealthStub(process.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    listening = [
        each.laddr.ip.removeprefix("::ffff:")  # gRPC's sockets are of IPv6
        for each in psutil.Process(process.process.pid).net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"] * 2


def test_the_page_is_there_and_knows_no_users(process):
    status, text, _ = process.raw("/")
    assert (status, b"<title>Try the model</title>" in text) == (200, True)
    status, answer = process.http("/imn/users?model=imn&version=1")
    assert (status, "knows no users" in answer["error"]) == (404, True)


@pytest.mark.parametrize(
    ("options", "there"),
    [
        ([], True),
        (["--no-page"], False),
        (["--host=0.0.0.0"], False),
        (["--host=0.0.0.0", "--page"], True),
    ],
)
def test_other_machines_get_the_page_only_if_it_is_asked_for(options, there):
    assert server._has_page(server.command_line().parse_args(options)) is there


def test_at_its_start_it_says_only_what_a_user_can_use(process):
    """TensorFlow 2.21 writes about processors and GPUs at its import."""
    loading, serving, ready = process.lines[:3]
    for line in (loading, serving, ready):
        assert re.match(r"\d\d:\d\d:\d\d (Loading|imn: serving|Ready)", line), process.lines


def test_it_watches_for_the_next_version(process, export, models):
    shutil.copytree(export, models / "imn" / ".pushing")
    (models / "imn" / ".pushing").rename(models / "imn" / "2")
    end = time.monotonic() + 60
    while process.http("/v1/models/imn/versions/2")[0] == 404:
        assert time.monotonic() < end
        time.sleep(0.1)
    while process.stub.Predict(predict_request(rank_inputs()), 20).model_spec.version.value != 2:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_sigterm_under_load_answers_what_it_took_and_ends_with_0(process):
    """Eight clients; none fails before the signal, and after it none in an unclear way."""
    told, answered, odd = threading.Event(), [], []
    encoded = base64.b64encode(example(raw_sample(6, [b"i001"], b"i003"))).decode()
    body = {"instances": [{"b64": encoded}]}

    def ask(over_rest):
        before = True
        while before:
            before = not told.is_set()
            try:
                if over_rest:
                    status, _ = process.http("/v1/models/imn:predict", body)
                    answered.append(status == 200 or (told.is_set() and status == 503))
                else:
                    process.rank()
                    answered.append(True)
            except (grpc.RpcError, urllib.error.URLError, ConnectionError) as error:
                code = error.code() if isinstance(error, grpc.RpcError) else None
                if not told.is_set() or code not in (None, grpc.StatusCode.UNAVAILABLE):
                    odd.append(error)
                return

    clients = [threading.Thread(target=ask, args=(number % 2,)) for number in range(8)]
    for client in clients:
        client.start()
    while len(answered) < 50:
        time.sleep(0.01)
    told.set()
    process.process.send_signal(signal.SIGTERM)
    for client in clients:
        client.join()
    assert process.process.wait(30) == 0
    assert not odd
    assert all(answered)
    assert "Stopped." in process.lines[-1]
    assert not any("Traceback" in line for line in process.lines)


def test_a_folder_without_a_model_is_a_mistake_with_a_cure(tmp_path, capsys):
    assert server.main(["--models", str(tmp_path)]) == 2
    assert "Run `make run` first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--candidates=0", "`candidates` must be positive"),
        ("--queue=-1", "`queue` must be positive"),
        ("--seconds=nan", "`seconds` must be positive"),
        ("--seconds=inf", "below 2^31"),
        ("--message-bytes=2147483648", "below 2^31"),
        ("--rest-port=70000", "`rest_port` must be a port, 0 to 65535. Received: 70000."),
        ("--grpc-port=-1", "`grpc_port` must be a port"),
        ("--poll-seconds=0", "`poll_seconds` must be 0.001 to 86,400. Received: 0.0."),
        ("--poll-seconds=nan", "`poll_seconds` must be"),
        ("--grace-seconds=-1", "`grace_seconds` must be"),
        ("--versions=0", "`versions` must be 1 to 100. Received: 0."),
        ("--label=imn", "must be MODEL:LABEL=VERSION, such as imn:canary=3. Received: imn."),
        ("--label=imn:canary=7", "must name a version in"),
        ("--label=other:canary=1", "there is none. Received: other:canary=1."),
    ],
)
def test_options_out_of_their_range(models, capsys, option, says):
    assert server.main(["--models", str(models), option]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_the_least_queue_is_none():
    assert Limits(queue=0).queue == 0


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1:7"), ("localhost", "localhost:7"), ("::1", "[::1]:7")],
)
def test_addresses(host, address):
    assert addresses.joined(host, 7) == address


@pytest.mark.skipif(not has_ipv6(), reason="needs ::1, the loopback interface of IPv6")
@pytest.mark.parametrize("host", ["::1", "::"])
def test_it_answers_on_ipv6(running, host):
    grpc_server = GrpcServer(running.service, addresses.joined(host, 0))
    rest = RestServer(running.service, host, 0)
    grpc_server.set_health(True)
    grpc_server.start()
    rest.start()
    try:
        for loopback in ("[::1]", *(["127.0.0.1"] if host == "::" else [])):
            url = f"http://{loopback}:{rest.port}/healthz"
            with urllib.request.urlopen(url, timeout=20) as answer:
                assert answer.status == 200
            stub = health_pb2_grpc.HealthStub(
                grpc.insecure_channel(f"{loopback}:{grpc_server.port}")
            )
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(OSError, match=rf"\[{host}\]:{rest.port} for REST"):
            RestServer(running.service, host, rest.port)
        with pytest.raises(OSError, match=rf"\[{host}\]:{grpc_server.port} for gRPC"):
            GrpcServer(running.service, f"[{host}]:{grpc_server.port}")
    finally:
        rest.stop(0)
        grpc_server.stop(0)


def test_a_port_that_is_taken_is_named(running):
    with pytest.raises(OSError, match=f":{running.grpc.port} for gRPC"):
        GrpcServer(running.service, f"127.0.0.1:{running.grpc.port}")
    with pytest.raises(OSError, match=f":{running.rest.port} for REST"):
        RestServer(running.service, "127.0.0.1", running.rest.port)
