"""Runs the steps of a package in the order of its DAG, with Argo's retries and time limit.

Steps that Argo would start side by side run one after the other. Waits between retries are
multiplied by `patience`.
"""

import contextlib
import dataclasses
import pathlib
import secrets as random
import threading
import time
from collections.abc import Callable, Mapping

import psutil

from tests.cluster.kubeflow.containers import Containers, Pod
from tests.cluster.kubeflow.package import Step, Workflow

_INTERVAL = 0.1  # seconds between two looks at a pod


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One pod of a step: its exit status (negative after a signal), seconds, bytes at most.

    The bytes are those that its processes held together, as Kubernetes counts them for its limit.
    """

    step: str
    status: int
    seconds: float
    memory: int
    log: pathlib.Path


class Failed(RuntimeError):
    """A step failed and may not be repeated; `attempts` has all pods of the run."""

    def __init__(self, attempts: list[Attempt]) -> None:
        last = attempts[-1]
        end = last.log.read_text(errors="replace")[-3000:]
        super().__init__(f"{last.step} ended with status {last.status}:\n{end}")
        self.attempts = attempts


@dataclasses.dataclass
class Cluster:
    """What a package finds on a cluster.

    Attributes:
      containers: starts the pods.
      claims: the folder of each volume claim.
      secrets: the keys and values of each secret.
      logs: a folder for the logs of the steps.
      patience: factor of the waits between retries.
      on_start: is called in a thread with the step's name, the number of the attempt from 0, and
        its process id; it may kill the pod.
      say: is called with a line for each pod that ended.
      newest: the name of the newest run.
    """

    containers: Containers
    claims: Mapping[str, pathlib.Path]
    secrets: Mapping[str, Mapping[str, str]]
    logs: pathlib.Path
    patience: float = 1.0
    on_start: Callable[[str, int, int], None] | None = None
    say: Callable[[str], None] = lambda line: None
    newest: str = ""

    def run(self, workflow: Workflow) -> list[Attempt]:
        """Runs a workflow under a name of its own.

        Raises:
          Failed: with the end of the log, if a step fails for good or the time limit passes.
        """
        self.newest = name = workflow.manifest["metadata"]["generateName"] + random.token_hex(3)
        end = time.monotonic() + workflow.spec["activeDeadlineSeconds"]
        attempts: list[Attempt] = []
        for step in workflow.steps:
            waits = step.waits()
            for number in range(len(waits) + 1):
                attempt = self._attempt(name, step, number, end)
                attempts.append(attempt)
                self.say(
                    f"{attempt.step:18} {attempt.seconds:6.1f} s {attempt.memory >> 20:6} MiB"
                    + (f"   status {attempt.status}" if attempt.status else "")
                )
                if attempt.status == 0:
                    break
                # A status other than 0 is a failure; an error would be a pod that got lost.
                retried = step.retries[1] in ("Always", "OnFailure") and number < len(waits)
                if not retried or time.monotonic() > end:
                    raise Failed(attempts)
                time.sleep(self.patience * waits[number])
        return attempts

    def _attempt(self, workflow: str, step: Step, number: int, end: float) -> Attempt:
        name = f"{workflow}-{step.name}-{number}"
        pod = Pod(
            step.command,
            step.environment(workflow, name, self.secrets),
            step.mounts(self.claims),
            step.security,
            self.logs / f"{name}.log",
        )
        self.logs.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with self.containers.start(pod) as process:
            if self.on_start:
                arguments = (step.name, number, process.pid)
                threading.Thread(target=self.on_start, args=arguments, daemon=True).start()
            memory = 0
            try:
                while process.poll() is None:
                    memory = max(memory, _resident(process.pid))
                    if memory > step.memory_limit or time.monotonic() > end:
                        kill(process.pid)
                    time.sleep(_INTERVAL)
            finally:
                kill(process.pid)
        seconds = time.monotonic() - started
        return Attempt(step.name, process.returncode, seconds, memory, pod.log)


def _tree(pid: int) -> list[psutil.Process]:
    """A process and those that it started, which are still there."""
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


def _resident(pid: int) -> int:
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def kill(pid: int) -> None:
    """Kills a pod's processes, as a node does that runs out of memory."""
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
