"""Runs the steps of a package in the order of its DAG, with Argo's retries and time limit.

Steps that Argo would start side by side run one after the other. Waits between retries are
multiplied by `patience`.
"""

import contextlib
import dataclasses
import os
import pathlib
import secrets as random
import signal
import threading
import time
from collections.abc import Callable, Mapping

import psutil

from tests.cluster.kubeflow.containers import Containers, Pod
from tests.cluster.kubeflow.package import Step, Workflow


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One pod of a step: its exit status (negative after a signal), seconds, bytes at most."""

    step: str
    status: int
    seconds: float
    memory: int
    log: pathlib.Path


class Failed(RuntimeError):
    """A step failed and may not be repeated."""


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
        the process; may kill it.
      say: is called with a line for each pod that ended.
    """

    containers: Containers
    claims: Mapping[str, pathlib.Path]
    secrets: Mapping[str, Mapping[str, str]]
    logs: pathlib.Path
    patience: float = 1.0
    on_start: Callable[[str, int, psutil.Process], None] | None = None
    say: Callable[[str], None] = lambda line: None

    def run(self, workflow: Workflow) -> list[Attempt]:
        """Runs a workflow under a name of its own.

        Raises:
          Failed: with the end of the log, if a step fails for good or the time limit passes.
        """
        name = workflow.manifest["metadata"]["generateName"] + random.token_hex(3)
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
                    log = attempt.log.read_text(errors="replace")[-3000:]
                    raise Failed(f"{step.name} ended with status {attempt.status}:\n{log}")
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
                arguments = (step.name, number, psutil.Process(process.pid))
                threading.Thread(target=self.on_start, args=arguments, daemon=True).start()
            clock = threading.Timer(max(0, end - started), _kill, [process.pid])
            clock.start()
            try:
                _, status, usage = os.wait4(process.pid, 0)
            finally:
                clock.cancel()
                _kill(process.pid)
            process.returncode = os.waitstatus_to_exitcode(status)
        memory = usage.ru_maxrss << 10  # of the largest process of the step
        if process.returncode == 0 and memory > step.memory_limit:
            # Kubernetes would have killed it.
            process.returncode = -signal.SIGKILL
        seconds = time.monotonic() - started
        return Attempt(step.name, process.returncode, seconds, memory, pod.log)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
