"""Memory and processor time of a run: of its process and of all that it started."""

import os
import pathlib
import threading
from typing import NamedTuple

SECONDS = 0.5  # between two readings
_PROC = pathlib.Path("/proc")


class Cost(NamedTuple):
    """What a component took, of all processes of the run.

    Attributes:
      seconds: of the clock.
      peak_memory_mb: MiB at the highest.
      processor_seconds: of this process and of those that it started and that have ended.
    """

    seconds: float
    peak_memory_mb: float
    processor_seconds: float


def resident_mb(process: int) -> float:
    """Resident memory of a process and its descendants in MiB; shared pages count in each.

    Processes that ended in between count nothing.
    """
    try:
        pages = int((_PROC / str(process) / "statm").read_text().split()[1])
        children = [
            int(child)
            for task in (_PROC / str(process) / "task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return 0.0
    own = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return own + sum(resident_mb(child) for child in children)


def processor_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


class PeakMemory:
    """Reads the memory of this process twice a second, in a thread of its own.

    Peaks that are shorter than that may be missed. Use it as a context.
    """

    def __init__(self) -> None:
        self._peak = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def restart(self) -> None:
        """Forgets all readings but the present one."""
        self._peak = resident_mb(os.getpid())

    def peak_mb(self) -> float:
        """The highest reading since the last `restart`, in MiB."""
        self._peak = max(self._peak, resident_mb(os.getpid()))
        return self._peak

    def _watch(self) -> None:
        while not self._stop.wait(SECONDS):
            self.peak_mb()
