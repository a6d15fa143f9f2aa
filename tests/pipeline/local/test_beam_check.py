"""Faults of Beam's options that are named before a job runs; jobs are in tests/cluster."""

import http.server
import json
import threading

import apache_beam as beam
import pytest

from pipeline.errors import InputError
from pipeline.local import beam_check


@pytest.fixture
def flink():
    """A server that answers as Flink's REST server does; its address, and the version it names."""
    answer = {"flink-version": "1.20.5"}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/v1/config" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"localhost:{server.server_port}", answer
        server.shutdown()


@pytest.mark.parametrize("args", [[], ["--runner=DirectRunner"], ["--direct_num_workers=2"]])
def test_local_runners_need_no_check(args, tmp_path):
    beam_check.addresses(args)
    assert beam_check.probe(args, str(tmp_path), []) == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--runner=FlinkRuner"], "must name a runner of Beam.*FlinkRuner"),
        (["--runner=FlinkRunner", "--flink_version=0.9"], "must be options of Beam.*'0.9'"),
        (["--runner=PortableRunner"], "must have --job_endpoint"),
        (["--runner=PortableRunner", "--job_endpoint=9999"], "must read HOST:PORT.*'9999'"),
        (["--runner=PortableRunner", "--job_endpoint=localhost:1"], "Nothing answers at localhost"),
        (["--runner=FlinkRunner", "--flink_job_server_jar=no.jar"], "There is no 'no.jar'"),
    ],
)
def test_a_wrong_option_is_named(args, message):
    with pytest.raises(InputError, match=message):
        beam_check.addresses(args)


def test_a_job_server_of_another_beam_is_named(tmp_path):
    jar = tmp_path / "beam-runners-flink-1.20-job-server-2.50.0.jar"
    jar.touch()
    with pytest.raises(InputError, match=rf"2\.50\.0\.jar, with Beam {beam.__version__}"):
        beam_check.addresses(["--runner=FlinkRunner", f"--flink_job_server_jar={jar}"])


def test_flink_must_be_a_version_that_beam_and_its_job_server_know(flink, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: "java")
    address, answer = flink
    args = ["--runner=FlinkRunner", f"--flink_master={address}"]
    beam_check.addresses([*args, "--flink_version=1.20"])
    with pytest.raises(InputError, match=r"one for Flink 1\.19, and Flink 1\.20\.5"):
        beam_check.addresses([*args, "--flink_version=1.19"])
    answer["flink-version"] = "1.9.3"
    with pytest.raises(InputError, match=r"runs on Flink .*1\.20.* Received: Flink 1\.9\.3"):
        beam_check.addresses([*args, "--flink_version=1.20"])
    del answer["flink-version"]
    with pytest.raises(InputError, match="No Flink answers"):
        beam_check.addresses(args)
