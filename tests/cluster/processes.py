"""Processes of a cluster on this machine: each in its own session, ended with all its children."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import psutil

ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


class Processes:
    """Starts processes with a log each; a context manager that ends them in reverse order.

    Args:
      logs: the folder of the logs.
    """

    def __init__(self, logs: pathlib.Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._running)):
            self.end(name)

    def start(
        self,
        name: str,
        command: Sequence[str],
        port: int | None = None,
        folder: pathlib.Path = ROOT,
    ) -> subprocess.Popen:
        """Starts a process in a folder; waits until it listens on `port`, if there is one.

        Raises:
          RuntimeError: if it ends or does not listen within a minute; with the end of its log.
        """
        # Beam's worker pool starts its workers as `python`.
        path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
        with self.log(name).open("w") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=folder,
                env=os.environ | {"PATH": path, "PYTHONWARNINGS": "ignore"},
            )
        self._running[name] = process
        end = time.monotonic() + 60
        while port and not _listens(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{name} did not start:\n{self.log(name).read_text()[-2000:]}")
            time.sleep(0.2)
        return process

    def log(self, name: str) -> pathlib.Path:
        """The log of a process."""
        return self._logs / f"{name}.log"

    def children(self, name: str) -> list[psutil.Process]:
        """The processes that a process started, such as the workers of a pool."""
        return psutil.Process(self._running[name].pid).children(recursive=True)

    def end(self, name: str, sign: int = signal.SIGTERM) -> None:
        """Ends a process and its children; with SIGKILL if they take over ten seconds."""
        process = self._running.pop(name)
        for number in (sign, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        # Also children that outlived their parent.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("localhost", port)) == 0


@contextlib.contextmanager
def two_workers(logs: pathlib.Path) -> Iterator[tuple[Processes, list[str]]]:
    """Beam's job server in Python and two worker pools.

    Yields:
      the processes `server`, `pool-1` and `pool-2`, and Beam's options for them.
    """
    with Processes(logs) as processes:
        ports = [free_port(), free_port()]
        for number, port in enumerate(ports, 1):
            # Not in the project's folder: workers must have the project installed.
            processes.start(f"pool-{number}", worker_pool(port), port, logs)
        server, pools = free_port(), ",".join(f"localhost:{port}" for port in ports)
        module = [sys.executable, "-m", "tests.cluster.job_server"]
        processes.start("server", [*module, f"--port={server}", f"--pools={pools}"], server)
        yield processes, portable_options(server, ports[0])


def worker_pool(port: int) -> list[str]:
    """The command of Beam's worker pool, the EXTERNAL environment."""
    module = "apache_beam.runners.worker.worker_pool_main"
    return [sys.executable, "-m", module, f"--service_port={port}"]


def portable_options(server: int, pool: int) -> list[str]:
    """Beam's options for a job server and a worker pool on this machine."""
    return [
        "--runner=PortableRunner",
        f"--job_endpoint=localhost:{server}",
        f"--artifact_endpoint=localhost:{server}",
        "--environment_type=EXTERNAL",
        f"--environment_config=localhost:{pool}",
    ]
