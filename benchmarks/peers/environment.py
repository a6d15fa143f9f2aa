"""Environments of the other libraries, set up where they are missing."""

import hashlib
import os
import pathlib
import shutil
import subprocess

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PYTHON = "python3.11"


class NotSetUp(Exception):
    """An environment that cannot be made here; the message is the reason."""


def python(library: str, cache: str, only_found: bool = False) -> str:
    """The interpreter of a library's environment under `cache`.

    Args:
      library: `deepctr` or `fuxictr`; `requirements/bench-LIBRARY.txt` is its lock.
      cache: where environments are kept.
      only_found: whether one that is missing is left missing.

    Raises:
      NotSetUp: where it is missing and must stay so, or cannot be made.
    """
    lock = _ROOT / "requirements" / f"bench-{library}.txt"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = pathlib.Path(cache).resolve() / f"{library}-{digest}"
    interpreter, finished = folder / "bin" / "python", folder / "finished"
    if finished.exists():
        return str(interpreter)
    if only_found:
        raise NotSetUp("not set up; the full form of the benchmark does that")
    base = shutil.which(_PYTHON)
    if base is None:
        raise NotSetUp(f"there is no {_PYTHON}")
    print(f"Setting up {library} under {folder} ...", flush=True)
    os.makedirs(folder.parent, exist_ok=True)
    _run([base, "-m", "venv", "--clear", str(folder)])
    # pip by itself: it knows of indexes and local files that other installers do not.
    _run([str(interpreter), "-m", "pip", "install", "-q", "-r", str(lock)])
    finished.touch()
    return str(interpreter)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "ERROR" in line.upper()]
        reason = (errors or done.stderr.splitlines() or ["it said nothing"])[-1]
        raise NotSetUp(f"{' '.join(command[1:4])} failed: {reason.strip()[:300]}")
