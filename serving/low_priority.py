"""Runs work that must not delay requests."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from typing import TypeVar

_NICENESS = 10  # about a tenth of the share of a thread that answers requests
T = TypeVar("T")


def at_low_priority(work: Callable[[], T]) -> T:
    """The result of `work`, from a thread of low priority.

    Only for work that does not hold Python's lock for long: requests would wait for the lock while
    the thread waits for a core. Only Linux has priorities of threads; elsewhere it just runs.

    The process may end while `work` runs. So this is no thread of a pool: Python waits for those.
    """
    done = futures.Future[T]()

    def run() -> None:
        try:
            if sys.platform == "linux":
                os.nice(_NICENESS)
            done.set_result(work())
        except BaseException as error:  # whatever it is, the caller waits for it
            done.set_exception(error)

    threading.Thread(target=run, name="low-priority", daemon=True).start()
    return done.result()
