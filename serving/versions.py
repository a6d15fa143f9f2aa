"""The versions of one model. Serves the newest that load, and replaces them without a pause."""

import contextlib
import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

import grpc

from serving.errors import RequestError, invalid, not_found

_LOG = logging.getLogger("serving")
RETRY_SECONDS = 60.0  # until a refused version is tried again; memory may have been short
STABLE = "stable"  # the label of the newest served version, unless it is set to another one


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


@dataclasses.dataclass(frozen=True)
class Policy:
    """Which versions are served.

    Attributes:
      newest: how many of the newest versions that load.
      labels: a version by the name of the model, then by its label. It is served beside the newest.
    """

    newest: int = 1
    labels: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)


class Versions(Generic[M]):
    """Serves versions in a folder. Versions are subfolders with numbers as names.

    Args:
      name: name of the model.
      folder: the folder.
      load: loads and warms up the folder of a version. An error refuses the version.
      policy: which versions are served.
      stopped: returns whether `poll` may load no more.
    """

    def __init__(
        self,
        name: str,
        folder: str,
        load: Callable[[str], M],
        policy: Policy | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ):
        self.name = name
        self._folder, self._load, self._stopped = folder, load, stopped
        policy = policy or Policy()
        self._newest, self._labels = policy.newest, policy.labels.get(name, {})
        self._loaded: dict[int, _Loaded[M]] = {}  # Replaced as a whole: readers take no lock.
        self._refused: dict[int, tuple[object, float, str]] = {}
        self._loading: int | None = None
        self._unreadable = ""
        self._polling = threading.Lock()

    def poll(self) -> bool:
        """Serves the newest versions that load, and those with a label.

        Tries a refused version again if its files have changed, because it may have been
        incomplete, and after `RETRY_SECONDS`. While the folder cannot be read or no version in it
        loads, the served ones stay.

        Returns:
          True if a load was attempted.
        """
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
            tried = False
            wanted: set[int] = set()
            for version in sorted(present, reverse=True):
                if len(wanted) >= self._newest and version not in self._labels.values():
                    continue
                path = os.path.join(self._folder, str(version))
                if version not in self._loaded:
                    stamp = _stamp(path)
                    old_stamp, retry_at, _ = self._refused.get(version, (None, 0.0, ""))
                    if old_stamp == stamp and time.monotonic() < retry_at:
                        continue
                    if self._stopped():
                        return tried
                    tried = True
                    if not self._try(version, path, stamp):
                        continue
                wanted.add(version)
            if wanted:
                self._unload(set(self._loaded) - wanted)
        return tried

    def _try(self, version: int, path: str, stamp: object) -> bool:
        self._loading = version
        try:
            model = self._load(path)
        except Exception as error:  # A broken version may raise anything; the old one stays.
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            self._refused[version] = (stamp, time.monotonic() + RETRY_SECONDS, reason)
            serving = ", ".join(map(str, self.served)) or "none"
            _LOG.error(
                "%s: version %d refused (%s); serving %s.", self.name, version, reason, serving
            )
            return False
        finally:
            self._loading = None
        self._refused.pop(version, None)
        self._loaded = self._loaded | {version: _Loaded(version, model)}
        _LOG.info("%s: serving version %d.", self.name, version)
        return True

    def _unload(self, gone: set[int]) -> None:
        before = self._loaded
        # Requests look here first, so that none starts with a version that closes.
        self._loaded = {v: loaded for v, loaded in before.items() if v not in gone}
        for version in gone:
            before[version].replace()

    @contextlib.contextmanager
    def use(self, version: int | None = None) -> Iterator[tuple[int, M]]:
        """A served version. It stays loaded until the context ends.

        Args:
          version: the version that the request names, or None for the newest served one.

        Raises:
          RequestError: NOT_FOUND if this version is not served, UNAVAILABLE if none is.
        """
        while True:
            served = self._loaded
            if not served:
                raise RequestError(
                    grpc.StatusCode.UNAVAILABLE, f"No version of model `{self.name}` is loaded."
                )
            loaded = served.get(max(served) if version is None else version)
            if loaded is None:
                raise not_found(
                    f"Version {version} of model `{self.name}` is not served. "
                    f"Served: {', '.join(map(str, sorted(served)))}."
                )
            if loaded.begin():  # False if it was replaced in the meantime
                break
        try:
            yield loaded.version, loaded.model
        finally:
            loaded.end()

    def labelled(self, label: str) -> int | None:
        """The version with a label; None if that is the newest served one, whichever it is.

        Raises:
          RequestError: INVALID_ARGUMENT, as in TF Serving, if the model has no such label.
        """
        if label in self._labels:
            return self._labels[label]
        if label == STABLE:
            return None
        known = ", ".join(f"`{each}`" for each in sorted({STABLE, *self._labels}))
        raise invalid(
            f"Unrecognized servable version label: {label}. Labels of `{self.name}`: {known}."
        )

    @property
    def labels(self) -> dict[str, int]:
        """The version of each label whose version is served."""
        served = self.served
        newest = {STABLE: served[0]} if served else {}
        return {k: v for k, v in (newest | dict(self._labels)).items() if v in served}

    @property
    def served(self) -> list[int]:
        """The served versions, newest first."""
        return sorted(self._loaded, reverse=True)

    @property
    def available(self) -> bool:
        """Whether a version is served."""
        return bool(self._loaded)

    def states(self) -> list[State]:
        """The states of the known versions, newest first."""
        loaded, loading = self._loaded, self._loading
        states = {v: State(v, "END", why) for v, (_, _, why) in list(self._refused.items())}
        if loading is not None:
            states[loading] = State(loading, "LOADING")
        states |= {version: State(version, "AVAILABLE") for version in loaded}
        return [states[version] for version in sorted(states, reverse=True)]

    def close(self) -> None:
        """Stops serving. Requests in progress keep their model until they end."""
        with self._polling:
            self._unload(set(self._loaded))


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
