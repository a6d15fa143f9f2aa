"""A cache of finished measurements, so that an interrupted benchmark can resume."""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

_ROOT = pathlib.Path(__file__).resolve().parents[1]


class ResultCache:
    """A folder with one JSON file for each measurement.

    Args:
      folder: created if it does not exist.
    """

    def __init__(self, folder: str | os.PathLike):
        self._folder = pathlib.Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, key: Any, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The cached measurement if its key is the same, otherwise a new one.

        Args:
          name: name of the file.
          key: everything that the measurement depends on, as JSON.
          measure: runs the measurement.
        """
        path = self._folder / f"{name}.json"
        key = json.loads(json.dumps(key))
        if path.exists():
            content = json.loads(path.read_text())
            if content["key"] == key:
                return content["run"]
        run = measure()
        shown = f"{run['step_seconds'] * 1000:.1f} ms" if "step_seconds" in run else "done"
        print(f"{name}: {shown}", flush=True)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({"key": key, "run": run}))
        unfinished.replace(path)
        return run


def code(*patterns: str) -> str:
    """Twelve digits of SHA-256 over the files of the repository that match the patterns."""
    sha = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in _ROOT.glob(pattern)}):
        sha.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()[:12]
