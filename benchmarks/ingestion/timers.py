"""Timers for the parts of a job: time of a function without the timed functions it calls."""

import collections
import functools
import time
from typing import Any


class Timers:
    """Wall and CPU time of parts, each without the timed functions that it calls.

    Attributes:
      seconds: wall seconds of each part.
      cpu: CPU seconds of each part.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self.cpu: dict[str, float] = collections.defaultdict(float)
        self._parts: list[str | None] = [None]
        self._last = (time.perf_counter(), time.thread_time())

    def time(self, part: str, owner: Any, name: str) -> None:
        """Replaces `owner.name` by the same function with a timer for `part`."""
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
