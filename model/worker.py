"""One worker of a training with `distribute=multi_worker`.

    python -m model.worker CHECKPOINTS/arguments.json

The Trainer starts those on its own machine and writes the file (model/training/workers.py). On
another machine, start one in the image of the Trainer, with its own `TF_CONFIG` and with the same
folders at the same paths: it waits for the file, trains, and ends when the Trainer removes it.
Exit status: 0 trained, 75 another worker was lost, 1 anything else; the log says why after
`Reason: `.
"""

import argparse
import json
import os
import sys
import threading
import time
import traceback
import types

# Before TensorFlow is imported: TensorFlow Transform and TFRS need Keras 2.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

from absl import logging

from model.training import cluster
from model.training.workers import LOST, REASON

_MEET_SECONDS = 600.0  # in which all workers must have come; pods may wait for their machine
_POLL_SECONDS = 1.0
_SAY_SECONDS = 60.0


def main() -> int:
    """Trains as the worker that `TF_CONFIG` names. Returns the exit status, or ends the process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("arguments", help="the file of arguments; the worker waits for it")
    parser.add_argument(
        "--parent", type=int, help="the process that must live on, or this one ends"
    )
    options = parser.parse_args()
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    logging.set_stderrthreshold("info")
    if options.parent:
        threading.Thread(target=_end_with, args=[options.parent], daemon=True).start()
    try:
        place = cluster.read(os.environ)
        _arguments(options.arguments)
        cluster.meet(place, _MEET_SECONDS)
        # Again: the first may be of a Trainer that was killed. A Trainer writes, then its chief
        # comes.
        arguments = _arguments(options.arguments)
    except ValueError as error:
        sys.stderr.write(f"{REASON}{error}\n")
        return 1
    _train(arguments)
    if place.number:
        # The others would take its end for a failure while the chief still writes the model. The
        # file is read again, because the Trainer may have started again since this worker did.
        arguments = _content(options.arguments)
        while arguments and _content(options.arguments) == arguments:
            time.sleep(_POLL_SECONDS)
    return 0


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]


def _arguments(path: str) -> str:
    """The content of the file of arguments, as soon as it is there."""
    said = float("-inf")
    while not (text := _content(path)):
        if time.monotonic() - said > _SAY_SECONDS:
            logging.info("Waiting for the Trainer to write %s.", path)
            said = time.monotonic()
        time.sleep(_POLL_SECONDS)
    return text


def _content(path: str) -> str:
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(path) as file:
            return file.read()
    except tf.errors.NotFoundError:
        return ""


def _train(arguments: str) -> None:
    """Trains, or ends the process with the reason."""
    import tensorflow as tf

    from model import trainer

    try:
        # TensorFlow must set up collective operations before it runs any other.
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        trainer.train(types.SimpleNamespace(**json.loads(arguments)), strategy)
        return
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        status, reason = LOST, f"another worker was lost ({_first_line(error)})"
    except Exception as error:
        status, reason = 1, f"{type(error).__name__}: {_first_line(error)}"
    traceback.print_exc()
    sys.stderr.write(f"{REASON}{reason}\n")
    sys.stderr.flush()
    # Not by `sys.exit`: TensorFlow would wait for the other workers to end too.
    os._exit(status)


def _end_with(parent: int) -> None:
    """Ends this process when its parent is gone: nobody would notice what it does."""
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
