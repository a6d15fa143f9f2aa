"""The models in a folder. One thread watches for new models and versions."""

import gc
import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Generic

from serving.errors import not_found
from serving.versions import M, Policy, Versions, versions

_LOG = logging.getLogger("serving")


class ModelRegistry(Generic[M]):
    """The models of a folder with the layout `MODEL/VERSION`.

    Args:
      root: the folder, such as `OUTPUT/serving_model` of the pipeline.
      load: loads and warms up the folder of a version.
      policy: which versions are served.
    """

    def __init__(self, root: str, load: Callable[[str], M], policy: Policy | None = None):
        self._root, self._load, self._policy = root, load, policy
        self._models: dict[str, Versions[M]] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def poll(self) -> None:
        """Looks for new models and new versions, and loads them. After `close` it loads no more."""
        for name in names(self._root):
            if name not in self._models:
                folder = os.path.join(self._root, name)
                versions_of = Versions(name, folder, self._load, self._policy, self._stopped.is_set)
                self._models = self._models | {name: versions_of}
        loaded = [model.poll() for model in self._models.values() if not self._stopped.is_set()]
        if any(loaded):
            gc.collect()  # Old graphs are reference cycles, and would stay in memory for long.

    def watch(self, seconds: float) -> threading.Event:
        """Calls `poll` at once and then every `seconds` in a thread, until `close`.

        Returns:
          an event that is set after the first `poll`.
        """
        looked = threading.Event()

        def run() -> None:
            while not self._stopped.is_set():
                try:
                    self.poll()
                except Exception:  # The folder may become readable again.
                    _LOG.exception("Looking for versions under %s failed.", self._root)
                looked.set()
                self._stopped.wait(seconds)

        self._thread = threading.Thread(target=run, name="watch", daemon=True)
        self._thread.start()
        return looked

    def model(self, name: str) -> Versions[M]:
        """The versions of a model.

        Raises:
          RequestError: NOT_FOUND if the folder has no such model.
        """
        if name not in self._models:
            served = ", ".join(f"`{each}`" for each in sorted(self._models)) or "none"
            raise not_found(f"Model `{name}` is not served. Served: {served}.")
        return self._models[name]

    @property
    def models(self) -> Mapping[str, Versions[M]]:
        """The versions of each model that the folder had, by its name."""
        return self._models

    @property
    def available(self) -> bool:
        """Whether at least one model serves a version."""
        return any(model.available for model in self._models.values())

    def close(self, seconds: float = 5.0) -> None:
        """Stops watching and serving. Requests in progress are finished first.

        Args:
          seconds: how long to wait for a version that is loading.
        """
        self._stopped.set()
        if self._thread:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return
        for model in self._models.values():
            model.close()


def names(root: str) -> list[str]:
    """The models that have a version in the folder, sorted; none if the folder does not exist.

    A model whose own folder cannot be read is one of them: its `Versions` says why.

    Raises:
      OSError: if the folder cannot be read.
    """
    try:
        folders = sorted(os.listdir(root))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [name for name in folders if _has_version(os.path.join(root, name))]


def _has_version(folder: str) -> bool:
    try:
        return bool(versions(folder))
    except OSError:
        return True
