"""A Flink session cluster on this machine: a JobManager, two TaskManagers, Beam's job server and
its worker pool, each a process. Maven fetches Flink and the job server into a cache folder.
"""

import contextlib
import http
import json
import pathlib
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import apache_beam as beam

from tests.cluster.processes import Processes, free_port, portable_options, worker_pool

FLINK = "1.20.5"  # of the minor versions that Beam 2.74 and 2.77 both name
CACHE = pathlib.Path.home() / ".cache" / "imn-cluster"
TASK_MANAGERS, SLOTS = 2, 2
_POM = pathlib.Path(__file__).with_name("flink.pom.xml")
_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
# What Flink's own scripts compute and set.
_MEMORY = {
    "jobmanager.memory.process.size": "1g",
    "taskmanager.cpu.cores": "2",
    "taskmanager.memory.task.heap.size": "384m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
    "taskmanager.memory.managed.size": "256m",
    "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m",
    "taskmanager.numberOfTaskSlots": str(SLOTS),
}
_OPENED = ("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent")


class NotServed(RuntimeError):
    """Maven does not get a part of the cluster here."""


def fetch_flink() -> pathlib.Path:
    """The folder of Flink's jars."""
    folder = CACHE / f"flink-{FLINK}"
    if not folder.is_dir():
        goal = "dependency:copy-dependencies"
        partial = folder.with_suffix(".partial")
        _maven("-f", str(_POM), goal, f"-Dflink.version={FLINK}", f"-DoutputDirectory={partial}")
        partial.rename(folder)
    return folder


def fetch_job_server() -> pathlib.Path:
    """Beam's job server for this Flink, of the version of the Beam that is installed."""
    name = f"beam-runners-flink-{FLINK.rpartition('.')[0]}-job-server"
    jar = CACHE / f"{name}-{beam.__version__}.jar"
    if not jar.exists():
        artifact = f"-Dartifact=org.apache.beam:{name}:{beam.__version__}"
        _maven("dependency:copy", artifact, f"-DoutputDirectory={CACHE}")
    return jar


def _maven(*arguments: str) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mvn", "-B", "-q", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if "ERROR" in line]
        raise NotServed(lines[0].partition("[ERROR] ")[2] if lines else done.stderr[-500:])


def start_flink(processes: Processes, work: pathlib.Path) -> str:
    """Starts the JobManager and the TaskManagers; returns the address of its REST server."""
    work.mkdir(parents=True, exist_ok=True)
    rpc, rest = free_port(), free_port()
    (work / "config.yaml").write_text("{}\n")
    settings = {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": str(rpc),
        "rest.address": "localhost",
        "rest.port": str(rest),
        "taskmanager.host": "localhost",
        "io.tmp.dirs": str(work),
        # A TaskManager that is gone is noticed within this time, and its job starts again.
        "heartbeat.interval": "1000",
        "heartbeat.timeout": "10000",
        **_MEMORY,
    }
    opened = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED]
    java = ["java", "-Xmx768m", *opened, "-cp", f"{fetch_flink()}/*"]
    given = [f"-D{key}={value}" for key, value in settings.items()]
    arguments = ["--configDir", str(work), *given]
    processes.start("jobmanager", [*java, _JOB_MANAGER, *arguments], rest)
    for number in range(1, TASK_MANAGERS + 1):
        processes.start(f"taskmanager-{number}", [*java, _TASK_MANAGER, *arguments])
    address = f"localhost:{rest}"
    end = time.monotonic() + 60
    while len(task_managers(address)) < TASK_MANAGERS:
        if time.monotonic() > end:
            log = processes.log("taskmanager-1").read_text()[-2000:]
            raise RuntimeError(f"The TaskManagers did not register:\n{log}")
        time.sleep(0.3)
    return address


def task_managers(address: str) -> list[dict]:
    """What Flink's REST server says of each TaskManager; nothing while it is starting."""
    try:
        with urllib.request.urlopen(f"http://{address}/taskmanagers") as answer:
            return json.load(answer)["taskmanagers"]
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return []


@contextlib.contextmanager
def cluster(work: pathlib.Path) -> Iterator[tuple[Processes, list[str]]]:
    """The whole cluster.

    Yields:
      its processes, and Beam's options for it.

    Raises:
      NotServed: if Maven does not get a part.
    """
    jar = fetch_job_server()
    with Processes(work / "logs") as processes:
        master = start_flink(processes, work / "flink")
        server, artifacts, expansion, pool = (free_port() for _ in range(4))
        processes.start("pool", worker_pool(pool), pool, work)
        arguments = {
            "flink-master": master,
            "job-port": server,
            "artifact-port": artifacts,
            "expansion-port": expansion,
            "artifacts-dir": work / "artifacts",
        }
        given = [f"--{name}={value}" for name, value in arguments.items()]
        processes.start("server", ["java", "-jar", str(jar), *given], server)
        options = portable_options(server, pool)
        options[2] = f"--artifact_endpoint=localhost:{artifacts}"
        yield processes, [*options, f"--parallelism={TASK_MANAGERS * SLOTS}"]
