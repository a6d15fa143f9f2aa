"""TensorFlow's import without its messages."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def imports() -> Iterator[None]:
    """Drops what is written to the standard error.

    TensorFlow 2.21 writes there about processors and GPUs while it is imported, whatever
    `TF_CPP_MIN_LOG_LEVEL` is. An exception is not lost: it leaves the block first.
    """
    sys.stderr.flush()
    screen, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(screen, 2)
        os.close(screen)
        os.close(nowhere)
