"""Where the time of a job goes, by its functions, at no cost but theirs."""

import collections
import functools
import time
from typing import Any


class Timers:
    """Time of functions, without that of the timed functions which they call.

    Attributes:
      seconds: by the part that a function belongs to, on the clock.
      cpu: the same, of the processor.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self.cpu: dict[str, float] = collections.defaultdict(float)
        self._parts: list[str | None] = [None]
        self._last = (time.perf_counter(), time.thread_time())

    def time(self, part: str, owner: Any, name: str) -> None:
        """Replaces a function of a module or class by one that is timed."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._switch()
            self._parts.append(part)
            try:
                return function(*args, **kwargs)
            finally:
                self._switch()
                self._parts.pop()

        setattr(owner, name, timed)

    def _switch(self) -> None:
        now = (time.perf_counter(), time.thread_time())
        part = self._parts[-1]
        if part is not None:
            self.seconds[part] += now[0] - self._last[0]
            self.cpu[part] += now[1] - self._last[1]
        self._last = now
