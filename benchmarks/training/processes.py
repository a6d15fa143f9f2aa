"""Runs one measurement in a new process with a memory limit."""

import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

_POLL_SECONDS = 0.02
# Words in the errors of failed allocations.
_ALLOCATION_ERRORS = ("ResourceExhausted", "MemoryError", "bad_alloc", "can't allocate memory")


class OutOfMemory(Exception):
    """The process reached its memory limit, or an allocation failed."""


def call(function: str, argument: Any, limit_mb: float) -> Any:
    """Calls a function in a new process and returns its result.

    A server that has imported TensorFlow, but not started it, forks the process. This
    saves each measurement the imports.

    Args:
      function: `module:name`; this process does not import it.
      argument: a picklable argument.
      limit_mb: resident memory in MB at which the process is killed.

    Raises:
      OutOfMemory: if the process reaches the limit, or an allocation fails.
      RuntimeError: if the process fails otherwise.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.training.measurements"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, argument))
    process.start()
    sender.close()
    assert process.pid is not None
    with _Limit(process.pid, limit_mb) as limit:
        try:
            kind, answer = receiver.recv()
        except EOFError:
            kind, answer = "ended", ""
        process.join()
    if kind == "answer":
        return answer
    if limit.reached or any(words in answer for words in _ALLOCATION_ERRORS):
        raise OutOfMemory
    raise RuntimeError(f"A measurement failed with status {process.exitcode}: {answer}")


def command(arguments: Sequence[str], environment: Mapping[str, str], limit_mb: float) -> Any:
    """Runs a command and parses the last JSON line that it prints; raises like `call`."""
    process = subprocess.Popen(
        list(arguments),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with _Limit(process.pid, limit_mb) as limit:
        out, errors = process.communicate()
    if process.returncode == 0:
        # Libraries may print other lines.
        return json.loads([line for line in out.splitlines() if line.startswith("{")][-1])
    if limit.reached or any(words in errors for words in _ALLOCATION_ERRORS):
        raise OutOfMemory
    last = (errors.strip().splitlines() or ["no output"])[-1]
    raise RuntimeError(f"{' '.join(arguments[:3])} failed with {process.returncode}: {last}")


def _answer(sender: Any, function: str, argument: Any) -> None:
    try:
        module, _, name = function.partition(":")
        sender.send(("answer", getattr(importlib.import_module(module), name)(argument)))
    except Exception:
        sender.send(("error", traceback.format_exc()))
        sys.exit(1)


class _Limit:
    """Kills a process whose resident memory reaches a limit.

    `setrlimit` does not fit: it counts reserved addresses, and TensorFlow reserves
    gigabytes that it never uses.
    """

    def __init__(self, pid: int, limit_mb: float):
        self.reached = False
        self._process = psutil.Process(pid)
        self._bytes = limit_mb * 2**20
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Limit":
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            while not self._end.wait(_POLL_SECONDS):
                if self._process.memory_info().rss > self._bytes:
                    self.reached = True
                    self._process.kill()
                    return
        except psutil.NoSuchProcess:
            return
