"""The example client, run outside the repository against a server."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.support.serving_requests import Running

CLIENT = pathlib.Path(__file__).parents[2] / "examples" / "client.py"


@pytest.fixture(scope="module")
def server(export, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "imn"
    folder.mkdir()
    (folder / "1").symlink_to(export)
    running = Running(folder.parent)
    yield running
    running.stop()


def client(folder, way, port, *arguments):
    """Runs the client as a user does, with TensorFlow's default log level."""
    return subprocess.run(
        [sys.executable, CLIENT, *arguments, f"--server=127.0.0.1:{port}"]
        + ["--rest"] * (way == "rest"),
        cwd=folder,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("TF_CPP")},
    )


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_it_prints_what_the_server_scores(server, tmp_path, way):
    port = {"grpc": server.grpc, "rest": server.rest}[way].port
    ids = ["--history", "i001", "i002", "--candidates", "i003", "new", "i040"]
    done = client(tmp_path, way, port, *ids)
    assert (done.returncode, done.stderr) == (0, "")
    printed = [line.split() for line in done.stdout.splitlines()]
    assert [item for item, _ in printed] == ["i003", "new", "i040"]
    # The model sees ages in days, as the client sends them, so the clock does not matter.
    expected = server.rank(history=[b"i001", b"i002"], candidates=[b"i003", b"new", b"i040"])[0]
    np.testing.assert_allclose([float(score) for _, score in printed], expected, atol=6e-5)


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_refusals_and_missing_servers_are_one_line(server, tmp_path, way):
    port = {"grpc": server.grpc, "rest": server.rest}[way].port
    for place, said in ((port, "Model `other` is not served"), (1, "make serve")):
        done = client(tmp_path, way, place, "--model=other")
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_without_its_packages_it_says_which_python_has_them():
    done = subprocess.run([sys.executable, "-S", CLIENT], capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "No module named 'grpc'. Start it as .venv/bin/python" in line
