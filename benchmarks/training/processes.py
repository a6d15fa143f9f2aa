"""One measurement in a process of its own, which may run out of memory."""

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

_LOOK_SECONDS = 0.02
# What libraries say when an allocation fails.
_REFUSED = ("ResourceExhausted", "MemoryError", "bad_alloc", "can't allocate memory")


class OutOfMemory(Exception):
    """The process would have taken more than it was allowed."""


def call(function: str, argument: Any, limit_mb: float) -> Any:
    """What a function returns that runs in a process of its own.

    The process is forked from a server that has imported TensorFlow and has
    started nothing of it, which saves each measurement the imports.

    Args:
      function: `module:name`, which this process need not import.
      argument: what can be pickled.
      limit_mb: resident memory at which the process is ended.

    Raises:
      OutOfMemory: where the limit was reached, or an allocation failed.
      RuntimeError: for any other end; the error is printed.
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
    if limit.reached or any(words in answer for words in _REFUSED):
        raise OutOfMemory
    raise RuntimeError(f"A measurement failed with status {process.exitcode}: {answer}")


def command(arguments: Sequence[str], environment: Mapping[str, str], limit_mb: float) -> Any:
    """The last line of JSON that a command prints; errors as those of `call`."""
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
        # Libraries may print of their own.
        return json.loads([line for line in out.splitlines() if line.startswith("{")][-1])
    if limit.reached or any(words in errors for words in _REFUSED):
        raise OutOfMemory
    last = (errors.strip().splitlines() or ["it said nothing"])[-1]
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

    Not `setrlimit`: that counts addresses, of which TensorFlow reserves gigabytes
    that it never touches.
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
            while not self._end.wait(_LOOK_SECONDS):
                if self._process.memory_info().rss > self._bytes:
                    self.reached = True
                    self._process.kill()
                    return
        except psutil.NoSuchProcess:
            return
