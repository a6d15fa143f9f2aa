"""The example client, run as it stands and far from this project's code, against a server."""

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


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_it_prints_what_the_server_scores(server, tmp_path, way):
    port = {"grpc": server.grpc, "rest": server.rest}[way].port
    ids = ["--history", "i001", "i002", "--candidates", "i003", "new", "i040"]
    done = subprocess.run(
        [
            sys.executable,
            CLIENT,
            *ids,
            "--server",
            f"127.0.0.1:{port}",
            *["--rest"] * (way == "rest"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    printed = [line.split() for line in done.stdout.splitlines()]
    assert [item for item, _ in printed] == ["i003", "new", "i040"]
    # Ages of days, as the client's: the clock does not matter.
    expected = server.rank(history=[b"i001", b"i002"], candidates=[b"i003", b"new", b"i040"])[0]
    np.testing.assert_allclose([float(score) for _, score in printed], expected, atol=6e-5)
