"""Runs work that must not delay requests."""

import os
import sys
from collections.abc import Callable
from concurrent import futures
from typing import TypeVar

_NICENESS = 10  # about a tenth of the share of a thread that answers requests
T = TypeVar("T")


def at_low_priority(work: Callable[[], T]) -> T:
    """The result of `work`, from a thread of low priority.

    Only for work that does not hold Python's lock for long: requests would wait for the lock while
    the thread waits for a core. Only Linux has priorities of threads; elsewhere it just runs.
    """

    def yield_cores() -> None:
        if sys.platform == "linux":
            os.nice(_NICENESS)

    with futures.ThreadPoolExecutor(1, "low-priority", yield_cores) as pool:
        return pool.submit(work).result()
