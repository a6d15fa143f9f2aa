"""All models under one folder, each with its versions, watched by one thread."""

import gc
import logging
import os
import threading
from collections.abc import Callable
from typing import Generic

from serving.errors import not_found
from serving.versions import M, Versions, versions

_LOG = logging.getLogger("serving")


class ModelRegistry(Generic[M]):
    """The models of a folder: a subfolder a model, in it a subfolder a version.

    Args:
      root: the folder, as the pipeline's `OUTPUT/serving_model`.
      load: loads a version's folder and warms it up.
    """

    def __init__(self, root: str, load: Callable[[str], M]):
        self._root, self._load = root, load
        self._models: dict[str, Versions[M]] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def poll(self) -> None:
        """Looks for new models and new versions, and loads them."""
        for name in names(self._root):
            if name not in self._models:
                folder = os.path.join(self._root, name)
                self._models = self._models | {name: Versions(name, folder, self._load)}
        loaded = [model.poll() for model in self._models.values() if not self._stopped.is_set()]
        if any(loaded):
            gc.collect()  # graphs hold themselves: those replaced or refused would stay for long

    def watch(self, seconds: float) -> None:
        """Polls every so many seconds, in a thread of its own, until `close`."""

        def run() -> None:
            while not self._stopped.wait(seconds):
                try:
                    self.poll()
                except Exception:  # a folder that cannot be read now may be in a while
                    _LOG.exception("Looking for versions under %s failed.", self._root)

        self._thread = threading.Thread(target=run, name="watch", daemon=True)
        self._thread.start()

    def model(self, name: str) -> Versions[M]:
        """The versions of a model.

        Raises:
          RequestError: NOT_FOUND for a model that there is not.
        """
        if name not in self._models:
            there = ", ".join(f"`{each}`" for each in sorted(self._models)) or "none"
            raise not_found(f"Model `{name}` is not served. Served: {there}.")
        return self._models[name]

    @property
    def available(self) -> bool:
        """Whether any model has a version that works."""
        return any(model.available for model in self._models.values())

    def close(self, seconds: float = 5.0) -> None:
        """Ends watching and serving; requests under way are finished first.

        Args:
          seconds: for a load under way; one that takes longer ends with the process.
        """
        self._stopped.set()
        if self._thread:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return
        for model in self._models.values():
            model.close()


def names(root: str) -> list[str]:
    """The models that a folder holds a version of."""
    try:
        found = sorted(os.listdir(root))
    except OSError:
        return []
    return [name for name in found if versions(os.path.join(root, name))]
