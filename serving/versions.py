"""The versions of one model. Serves the newest that loads, and replaces it without a pause."""

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
RETRY_SECONDS = 60.0  # until a refused version is tried again; memory may have been short


class Closable(Protocol):
    """A loaded version."""

    def close(self) -> None:
        """Frees its memory."""


M = TypeVar("M", bound=Closable)


class _Loaded(Generic[M]):
    """A loaded version. Closes after it was replaced and its last request is answered."""

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
    """A version, its state (AVAILABLE, LOADING or END), and why it was refused."""

    version: int
    state: str
    error: str = ""


class Versions(Generic[M]):
    """Serves the newest version in a folder. Versions are subfolders with numbers as names.

    Args:
      name: name of the model, for messages.
      folder: the folder.
      load: loads and warms up the folder of a version. An error refuses the version.
    """

    def __init__(self, name: str, folder: str, load: Callable[[str], M]):
        self.name = name
        self._folder, self._load = folder, load
        self._current: _Loaded[M] | None = None
        self._refused: dict[int, tuple[object, float, str]] = {}
        self._loading: int | None = None
        self._unreadable = ""
        self._polling = threading.Lock()

    def poll(self) -> bool:
        """Serves the newest version that loads, unless it is served already.

        Tries a refused version again if its files have changed, because it may have been
        incomplete, and after `RETRY_SECONDS`. While the folder cannot be read, the served version
        stays.

        Returns:
          True if a load was attempted.
        """
        tried = False
        with self._polling:
            try:
                present, unreadable = versions(self._folder), ""
            except OSError as error:
                present, unreadable = [], str(error)
            if unreadable and unreadable != self._unreadable:  # once, not at every poll
                _LOG.error("%s: its folder cannot be read: %s", self.name, unreadable)
            self._unreadable = unreadable
            if unreadable:
                return False
            self._refused = {v: why for v, why in self._refused.items() if v in present}
            for version in sorted(present, reverse=True):
                if self._current and version == self._current.version:
                    break
                path = os.path.join(self._folder, str(version))
                stamp = _stamp(path)
                old_stamp, retry_at, _ = self._refused.get(version, (None, 0.0, ""))
                if old_stamp == stamp and time.monotonic() < retry_at:
                    continue
                tried = True
                if self._try(version, path, stamp):
                    break
        return tried

    def _try(self, version: int, path: str, stamp: object) -> bool:
        self._loading = version
        try:
            model = self._load(path)
        except Exception as error:  # A broken version may raise anything; the old one stays.
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            self._refused[version] = (stamp, time.monotonic() + RETRY_SECONDS, reason)
            serving = self._current.version if self._current else "none"
            _LOG.error(
                "%s: version %d refused (%s); serving %s.", self.name, version, reason, serving
            )
            return False
        finally:
            self._loading = None
        self._refused.pop(version, None)
        old, self._current = self._current, _Loaded(version, model)
        if old:
            old.replace()
        _LOG.info("%s: serving version %d.", self.name, version)
        return True

    @contextlib.contextmanager
    def use(self, version: int | None = None) -> Iterator[tuple[int, M]]:
        """The served version. It stays loaded until the context ends.

        Args:
          version: the version that the request names, or None for the served one.

        Raises:
          RequestError: NOT_FOUND if another version is served, UNAVAILABLE if none is.
        """
        while True:
            loaded = self._current
            if loaded is None:
                raise RequestError(
                    grpc.StatusCode.UNAVAILABLE, f"No version of model `{self.name}` is loaded."
                )
            if version is not None and version != loaded.version:
                raise not_found(
                    f"Version {version} of model `{self.name}` is not served; {loaded.version} is."
                )
            if loaded.begin():  # False if it was replaced in the meantime
                break
        try:
            yield loaded.version, loaded.model
        finally:
            loaded.end()

    @property
    def available(self) -> bool:
        """Whether a version is served."""
        return self._current is not None

    def states(self) -> list[State]:
        """The states of the known versions, newest first."""
        loaded, loading = self._current, self._loading
        states = {v: State(v, "END", why) for v, (_, _, why) in list(self._refused.items())}
        if loading is not None:
            states[loading] = State(loading, "LOADING")
        if loaded:
            states[loaded.version] = State(loaded.version, "AVAILABLE")
        return [states[version] for version in sorted(states, reverse=True)]

    def close(self) -> None:
        """Stops serving. Requests in progress keep their model until they end."""
        with self._polling:
            loaded, self._current = self._current, None
            if loaded:
                loaded.replace()


def versions(folder: str) -> list[int]:
    """The versions in `folder`, unsorted. Names that are not int64 are ignored.

    There are none in a folder that does not exist, or in a file.

    Raises:
      OSError: if the folder cannot be read.
    """
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    numbers = [int(n) for n in names if n.isdecimal() and n.isascii() and str(int(n)) == n]
    return [number for number in numbers if number < 1 << 63]


def _stamp(path: str) -> object:
    """A value that differs if a file below `path` was added, changed or removed."""
    stamp = []
    for root, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.stat(os.path.join(root, name))
                stamp.append((os.path.join(root, name), status.st_size, status.st_mtime_ns))
    return sorted(stamp)
