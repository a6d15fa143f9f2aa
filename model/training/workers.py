"""Starts the workers of a training, and waits for the chief.

The Trainer of TFX does not train on several workers itself: TensorFlow must set up the connections
between workers before its first operation, and the components before the Trainer have run some in
this process. So each worker is a process of its own (model/worker.py), and the first one that fails
ends all of them. A worker on another machine reads the same file of arguments.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import tensorflow as tf
from absl import logging

from model.training import cluster

# The file of arguments. That of workers on other machines is in the folder of the checkpoints.
ARGUMENTS = "arguments.json"
# The exit status of a worker that lost another one. What ended the other one is the reason.
LOST = 75
# What the line of a worker's log begins with that says why it failed.
REASON = "Reason: "
_ATTRIBUTES = (
    "train_files",
    "eval_files",
    "transform_output",
    "serving_model_dir",
    "model_run_dir",
    "custom_config",
)
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 15.0  # in which the reason is waited for, after a worker that lost another one


class _Process(NamedTuple):
    """A worker that was started here: its number, its process and the file of its log."""

    number: int
    process: subprocess.Popen
    log: str


def run(fn_args: Any) -> None:
    """Trains in worker processes; returns when the chief, the first of them, is done.

    With the setting `workers` above 0 they are that many, all on this machine. With 0 it is the
    chief alone, and `TF_CONFIG` names the others, which are started where they run.

    Args:
      fn_args: of `run_fn`.

    Raises:
      ValueError: for a wrong `TF_CONFIG`.
      RuntimeError: if a worker fails. The others are stopped.
    """
    custom = fn_args.custom_config
    if custom["workers"]:
        configs = cluster.on_this_machine(custom["workers"])
    else:
        cluster.check_trainer(os.environ)
        configs = [os.environ[cluster.VARIABLE]]
    # Logs need a folder that is no bucket.
    logs = fn_args.model_run_dir
    logs = tempfile.mkdtemp(prefix="imn-workers-") if "://" in logs else logs
    os.makedirs(logs, exist_ok=True)
    # Of its own, because a worker that is killed leaves its temporary files.
    with tempfile.TemporaryDirectory(
        prefix="imn-workers-", ignore_cleanup_errors=True
    ) as temporary:
        # Workers on other machines know no path but that one.
        arguments = _write(fn_args, temporary if custom["workers"] else custom["checkpoint_root"])
        with _started(arguments, configs, logs, temporary) as processes:
            _wait(processes)


def _write(fn_args: Any, folder: str) -> str:
    """Writes the arguments of a training for its workers; returns the path."""
    tf.io.gfile.makedirs(folder)
    path = os.path.join(folder, ARGUMENTS)
    with tf.io.gfile.GFile(f"{path}.part", "w") as file:
        json.dump({name: getattr(fn_args, name) for name in _ATTRIBUTES}, file)
    tf.io.gfile.rename(f"{path}.part", path, overwrite=True)
    return path


@contextlib.contextmanager
def _started(
    arguments: str, configs: list[str], logs: str, temporary: str
) -> Iterator[list[_Process]]:
    """Starts a worker for each value of `TF_CONFIG`; at the end those that still run are killed.

    Their logs go to files. What the first one prints, its progress, goes to `sys.stdout` too.
    """
    command = [sys.executable, "-m", "model.worker", arguments, "--parent", str(os.getpid())]
    # Workers import from where this process does.
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    processes: list[_Process] = []
    try:
        for number, config in enumerate(configs):
            log = os.path.join(logs, f"worker_{number}.log")
            with open(log, "w", encoding="utf-8") as file:
                process = subprocess.Popen(
                    command,
                    env={
                        **os.environ,
                        cluster.VARIABLE: config,
                        "PYTHONPATH": path,
                        "TMPDIR": temporary,
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=file if processes else subprocess.PIPE,
                    stderr=file,
                    text=True,
                )
            processes.append(_Process(number, process, log))
            logging.info("Worker %d writes its log to %s.", number, log)
        echo = threading.Thread(target=_echo, args=[processes[0].process.stdout], daemon=True)
        echo.start()
        yield processes
        echo.join()  # so that the last line is out before the next one of this process
    finally:
        for started in processes:
            started.process.kill()
            started.process.wait()
        with contextlib.suppress(tf.errors.NotFoundError):
            tf.io.gfile.remove(arguments)


def _echo(lines: IO[str]) -> None:
    for line in lines:
        sys.stdout.write(line)
        sys.stdout.flush()


def _wait(processes: list[_Process]) -> None:
    """Returns when the chief is done.

    Raises:
      RuntimeError: when one has failed.
    """
    end = float("inf")
    while processes[0].process.poll() != 0:
        ended = [started for started in processes if started.process.poll() is not None]
        failed = [started for started in ended if started.process.returncode]
        reasons = [started for started in failed if started.process.returncode != LOST]
        if failed:
            end = min(end, time.monotonic() + _GRACE_SECONDS)
        if reasons or (failed and (len(ended) == len(processes) or time.monotonic() > end)):
            raise RuntimeError(_message((reasons or failed)[0], len(processes)))
        time.sleep(_POLL_SECONDS)


def _message(failed: _Process, workers: int) -> str:
    status = failed.process.returncode
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else "failed"
    message = f"Worker {failed.number} {how}"
    if workers > 1:
        message += f", so all {workers} workers of the training were stopped"
    reason = _reason(failed.log) if status > 0 else ""
    return (
        f"{message}{reason and f': {reason}'}. Its log: {failed.log}. "
        "The same command goes on from the last checkpoint."
    )


def _reason(log: str) -> str:
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if line.startswith(REASON)]
    return lines[-1].removeprefix(REASON).rstrip(".") if lines else ""
