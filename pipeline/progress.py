"""Progress of a long component: rows done, rate and time left.

Beam's local runner tells nothing before a job ends. So the workers of a component append to a file
that the component reads, whatever thread or process they run in. Workers on another machine do not
see that file, and count nothing.
"""

import contextlib
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
_SLOW = 2.0  # rows a second below which the rate is told by the minute


class Progress:
    """Counts the rows of a component; a context manager that writes to `sys.stdout`.

    A terminal shows one line that is updated in place; a file gets a line a minute. Nothing is
    written in the first ten seconds, nor before the first rows are done. Workers get a pickled
    copy, and call `advance` alone.

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
        """Adds rows that are done. Without access to the file it does nothing."""
        with contextlib.suppress(OSError):
            # Does not make the file: on another machine, or after the end, nobody would remove it.
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            # Appending a few bytes is one step for the system: no worker writes into another's.
            with open(file, "wb", buffering=0) as opened:
                opened.write(rows.to_bytes(_BYTES, "little"))

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
        pace = f"{rate:,.0f} a second" if rate >= _SLOW else f"{60 * rate:,.0f} a minute"
        text = f"{self._name}: {done:,}{of} {self._unit}, {pace}"
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
            if not self.done():  # also if all workers are on other machines
                continue
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
