"""Progress of a long component: rows done, rate and time left.

Beam's local runner tells nothing before a job ends. So the workers of a component append to a file
that the component reads, whatever thread or process they run in. A worker on another machine
appends to a file of its own, which nobody reads.
"""

import os
import sys
import tempfile
import threading
import time
from types import TracebackType

_QUIET = 10.0  # seconds in which nothing is written: most components of small data end before
_EVERY = 1.0  # seconds between two updates of the line on a terminal
_LINES = 60.0  # seconds between two lines in a file
_BYTES = 8  # of a number of rows in the file


class Progress:
    """Counts the rows of a component; a context manager that writes to `sys.stdout`.

    A terminal shows one line that is updated in place; a file gets a line a minute. Nothing is
    written in the first ten seconds. Workers get a pickled copy, and call `advance` alone.

    Args:
      name: what works, the start of the line.
      total: rows of all work together; 0 if it is not known.
      unit: what is counted.
    """

    def __init__(self, name: str, total: int, unit: str = "rows") -> None:
        self._name, self._total, self._unit = name, total, unit
        handle, self._path = tempfile.mkstemp(prefix="imn-progress-")
        os.close(handle)

    def advance(self, rows: int) -> None:
        """Adds rows that are done."""
        # Appending a few bytes is one step for the system, so no worker writes into another's.
        with open(self._path, "ab", buffering=0) as file:
            file.write(rows.to_bytes(_BYTES, "little"))

    def done(self) -> int:
        """The rows of all workers on this machine."""
        with open(self._path, "rb") as file:
            content = file.read()
        return sum(
            int.from_bytes(content[at : at + _BYTES], "little")
            for at in range(0, len(content), _BYTES)
        )

    def line(self, seconds: float) -> str:
        """What to say after some seconds."""
        done = self.done()
        of = f" of {self._total:,}" if self._total else ""
        rate = done / max(seconds, 1e-9)
        text = f"{self._name}: {done:,}{of} {self._unit}, {rate:,.0f} a second"
        if self._total and done:
            text += f", {duration((self._total - done) / rate)} left"
        return text

    def __enter__(self) -> "Progress":
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        os.remove(self._path)

    def __getstate__(self) -> dict[str, object]:
        threads = ("_stop", "_thread")
        return {name: value for name, value in self.__dict__.items() if name not in threads}

    def _watch(self) -> None:
        start, terminal, shown = time.monotonic(), sys.stdout.isatty(), False
        wait = _QUIET if terminal else _LINES
        while not self._stop.wait(wait):
            wait = _EVERY if terminal else _LINES
            line = self.line(time.monotonic() - start)
            sys.stdout.write(f"\r\033[K  … {line}" if terminal else f"    {line}\n")
            sys.stdout.flush()
            shown = True
        if terminal and shown:
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()


def duration(seconds: float) -> str:
    """Seconds in words, with two units at most: `40 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
