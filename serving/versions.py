"""The versions of one model: the newest that works is served, and swapped under way."""

import contextlib
import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

import grpc

from serving.errors import RequestError, not_found

_LOG = logging.getLogger("serving")
AGAIN_SECONDS = 60.0  # to the next look at a refused version: memory may have been short


class Closable(Protocol):
    """What a version is loaded into."""

    def close(self) -> None:
        """Frees it."""


M = TypeVar("M", bound=Closable)


class _Loaded(Generic[M]):
    """A loaded version, closed when it was replaced and its last request is answered."""

    def __init__(self, version: int, model: M):
        self.version, self.model = version, model
        self._users, self._replaced = 0, False
        self._lock = threading.Lock()

    def begin(self) -> bool:
        with self._lock:
            if self._replaced:
                return False
            self._users += 1
            return True

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._replaced and not self._users
        if last:
            self.model.close()

    def replace(self) -> None:
        with self._lock:
            self._replaced = True
            unused = not self._users
        if unused:
            self.model.close()


@dataclasses.dataclass(frozen=True)
class State:
    """What became of a version: AVAILABLE, LOADING or END, and why it was refused."""

    version: int
    state: str
    error: str = ""


class Versions(Generic[M]):
    """Watches a folder whose subfolders are versions, named by numbers.

    Args:
      name: of the model, for messages.
      folder: what is watched.
      load: loads and warms up a version's folder; what it raises refuses the version.
    """

    def __init__(self, name: str, folder: str, load: Callable[[str], M]):
        self.name = name
        self._folder, self._load = folder, load
        self._current: _Loaded[M] | None = None
        self._refused: dict[int, tuple[object, float, str]] = {}
        self._loading: int | None = None
        self._polling = threading.Lock()

    def poll(self) -> bool:
        """Serves the newest version that loads, if it is not served already.

        A version that was refused is tried again once its files have changed, as it
        may have been looked at while it was written, and after `AGAIN_SECONDS`.

        Returns:
          whether it loaded any, in vain or not.
        """
        tried = False
        with self._polling:
            found = versions(self._folder)
            self._refused = {v: why for v, why in self._refused.items() if v in found}
            for version in sorted(found, reverse=True):
                if self._current and version == self._current.version:
                    break
                path = os.path.join(self._folder, str(version))
                stamp = _stamp(path)
                before, again, _ = self._refused.get(version, (None, 0.0, ""))
                if before == stamp and time.monotonic() < again:
                    continue
                tried = True
                if self._try(version, path, stamp):
                    break
        return tried

    def _try(self, version: int, path: str, stamp: object) -> bool:
        self._loading = version
        try:
            model = self._load(path)
        except Exception as error:  # whatever a broken version raises, the old one stays
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            self._refused[version] = (stamp, time.monotonic() + AGAIN_SECONDS, reason)
            serving = self._current.version if self._current else "none"
            _LOG.error(
                "%s: version %d refused (%s); serving %s.", self.name, version, reason, serving
            )
            return False
        finally:
            self._loading = None
        self._refused.pop(version, None)
        before, self._current = self._current, _Loaded(version, model)
        if before:
            before.replace()
        _LOG.info("%s: serving version %d.", self.name, version)
        return True

    @contextlib.contextmanager
    def use(self, version: int | None = None) -> Iterator[tuple[int, M]]:
        """The served version, which stays whole until the request is done with it.

        Args:
          version: the one a request insists on, or None.

        Raises:
          RequestError: NOT_FOUND where another is served, UNAVAILABLE where none is.
        """
        while True:
            held = self._current
            if held is None:
                raise RequestError(
                    grpc.StatusCode.UNAVAILABLE, f"No version of model `{self.name}` is loaded."
                )
            if version is not None and version != held.version:
                raise not_found(
                    f"Version {version} of model `{self.name}` is not served; {held.version} is."
                )
            if held.begin():  # or it was replaced in between
                break
        try:
            yield held.version, held.model
        finally:
            held.end()

    @property
    def available(self) -> bool:
        """Whether a version is served."""
        return self._current is not None

    def states(self) -> list[State]:
        """What is known of the versions, newest first."""
        held, loading = self._current, self._loading
        states = {v: State(v, "END", why) for v, (_, _, why) in list(self._refused.items())}
        if loading is not None:
            states[loading] = State(loading, "LOADING")
        if held:
            states[held.version] = State(held.version, "AVAILABLE")
        return [states[version] for version in sorted(states, reverse=True)]

    def close(self) -> None:
        """Ends serving; requests under way keep their model until they are done."""
        with self._polling:
            held, self._current = self._current, None
            if held:
                held.replace()


def versions(folder: str) -> list[int]:
    """The versions that `folder` holds, in no order; names that are no int64 are none."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    numbers = [int(n) for n in names if n.isdecimal() and n.isascii() and str(int(n)) == n]
    return [number for number in numbers if number < 1 << 63]


def _stamp(path: str) -> object:
    """Differs when a file below `path` has changed, come or gone."""
    stamp = []
    for root, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.stat(os.path.join(root, name))
                stamp.append((os.path.join(root, name), status.st_size, status.st_mtime_ns))
    return sorted(stamp)
