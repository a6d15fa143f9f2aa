"""The workers of a training, read from `TF_CONFIG`, and the wait until all of them are there.

Does not import TensorFlow, so that a wrong `TF_CONFIG` ends a run before it loads anything.
"""

import json
import socket
import time
from collections.abc import Mapping
from typing import NamedTuple

from absl import logging

VARIABLE = "TF_CONFIG"
LOOPBACK = "127.0.0.1"
_JOBS = ("chief", "worker")  # in the order in which workers are numbered
_EXAMPLE = (
    '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'
)
_TRY_SECONDS = 2.0  # of one connection; an address that drops packets is silent
_PAUSE_SECONDS = 0.2
_SAY_SECONDS = 30.0


class Cluster(NamedTuple):
    """All workers of a training and this one.

    Attributes:
      addresses: `HOST:PORT` of each worker, the chief first.
      number: of this worker; the chief is 0.
    """

    addresses: tuple[str, ...]
    number: int


def read(environ: Mapping[str, str]) -> Cluster:
    """The workers that `TF_CONFIG` names.

    Args:
      environ: an environment, such as `os.environ`.

    Raises:
      ValueError: if it is missing or wrong; the message has the rule, the value and the cure.
    """
    text = environ.get(VARIABLE, "")
    if not text:
        raise _wrong("be set where IMN_DISTRIBUTE is multi_worker and IMN_WORKERS is 0", text)
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise _wrong(f"be JSON ({error})", text) from None
    jobs, task = (
        config.get(key) if isinstance(config, dict) else None for key in ("cluster", "task")
    )
    if not (isinstance(jobs, dict) and jobs and isinstance(task, dict)):
        raise _wrong("be an object with the objects `cluster` and `task`", text)
    unknown = sorted(set(jobs) - set(_JOBS))
    if unknown:
        raise _wrong(f"name no jobs but `chief` and `worker`; it names {', '.join(unknown)}", text)
    if task.get("type") not in jobs:
        raise _wrong(f"give the `type` of the task: one of {', '.join(jobs)}", text)
    addresses: list[str] = []
    for job in _JOBS:
        of_job = jobs.get(job, [])
        if not isinstance(of_job, list):
            raise _wrong(f"give the addresses of `{job}` as a list", text)
        for address in of_job:
            _check_address(address, text)
        if task.get("type") == job:
            index = task.get("index")
            if isinstance(index, bool) or not isinstance(index, int):
                raise _wrong("give the `index` of the task as a whole number", text)
            if not 0 <= index < len(of_job):
                raise _wrong(
                    f"give an `index` from 0 to {len(of_job) - 1}, because `{job}` has "
                    f"{len(of_job)} addresses",
                    text,
                )
            own = len(addresses) + index
        addresses += of_job
    if len(jobs.get("chief", [])) > 1:
        raise _wrong("name one `chief` at most", text)
    if len(set(addresses)) < len(addresses):
        raise _wrong("give each worker an address of its own", text)
    return Cluster(tuple(addresses), own)


def check_trainer(environ: Mapping[str, str]) -> None:
    """Checks the `TF_CONFIG` of a Trainer, whose worker is the chief, because it writes the model.

    Raises:
      ValueError: as `read`, or if it is that of another worker.
    """
    found = read(environ)
    if found.number:
        raise _wrong(
            f"name the first worker, {found.addresses[0]}, as the task of the Trainer",
            environ[VARIABLE],
        )


def on_this_machine(count: int) -> list[str]:
    """Values of `TF_CONFIG` for `count` workers on loopback, with ports that are free now."""
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    addresses = [f"{LOOPBACK}:{opened.getsockname()[1]}" for opened in sockets]
    for opened in sockets:
        opened.close()
    return [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
        for index in range(count)
    ]


def meet(cluster: Cluster, seconds: float) -> None:
    """Waits until every other worker listens at its address.

    TensorFlow would wait for an hour, and not say for whom. This worker listens at its own port
    while it waits; TensorFlow takes the port over.

    Args:
      cluster: the workers.
      seconds: how long to wait at most.

    Raises:
      ValueError: if this worker's port is taken, or another worker does not come.
    """
    own = cluster.addresses[cluster.number]
    missing = [address for address in cluster.addresses if address != own]
    port = int(own.rpartition(":")[2])
    try:
        listening = socket.create_server(("", port), backlog=128)
    except OSError as error:
        raise ValueError(
            f"Port {port} of this worker must be free ({error.strerror}). Received: {own} in "
            f"{VARIABLE}. Stop the process that has it, or give another port to all workers."
        ) from None
    with listening:
        end = time.monotonic() + seconds
        say = time.monotonic()
        while missing := [address for address in missing if not _listens(address)]:
            now = time.monotonic()
            if now >= end:
                raise ValueError(
                    f"All workers must listen at their addresses: nothing answers at "
                    f"{', '.join(missing)} after {seconds:.0f} s. Start the missing workers, or "
                    f"correct {VARIABLE}, which must name the same addresses for all of them."
                )
            if now >= say:
                logging.info("Waiting for the workers at %s.", ", ".join(missing))
                say += _SAY_SECONDS
            time.sleep(_PAUSE_SECONDS)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _TRY_SECONDS).close()
    except OSError:  # also a name that is not known yet
        return False
    return True


def _check_address(address: object, text: str) -> None:
    host, _, port = str(address).rpartition(":")
    if not (isinstance(address, str) and host and port.isdecimal() and 0 < int(port) < 65536):
        raise _wrong(f"give addresses as HOST:PORT; {address!r} is none", text)


def _wrong(rule: str, text: str) -> ValueError:
    return ValueError(
        f"`{VARIABLE}` must {rule}. Received: {text!r}. Give each worker its own, such as "
        f"{_EXAMPLE}, or set IMN_WORKERS=2 to start two workers on this machine."
    )
