"""Creates the virtual environments of the other libraries."""

import hashlib
import os
import pathlib
import shutil
import subprocess

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PYTHON = "python3.11"


class NotSetUp(Exception):
    """The environment is missing or cannot be created; the message is the reason."""


def python(library: str, cache: str, only_existing: bool = False) -> str:
    """Path of the Python of a library's environment; creates the environment if needed.

    Args:
      library: `deepctr`, `fuxictr` or `faiss`; its lock is `requirements/bench-LIBRARY.txt`.
      cache: folder of the environments.
      only_existing: do not create a missing environment.

    Raises:
      NotSetUp: if the environment is missing and `only_existing`, or cannot be created.
    """
    lock = _ROOT / "requirements" / f"bench-{library}.txt"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = pathlib.Path(cache).resolve() / f"{library}-{digest}"
    interpreter, finished = folder / "bin" / "python", folder / "finished"
    if finished.exists():
        return str(interpreter)
    if only_existing:
        raise NotSetUp("not set up; run the full form of the benchmark to set it up")
    base = shutil.which(_PYTHON)
    if base is None:
        raise NotSetUp(f"`{_PYTHON}` is not installed; install it and run the benchmark again")
    print(f"Setting up {library} under {folder} ...", flush=True)
    os.makedirs(folder.parent, exist_ok=True)
    _run([base, "-m", "venv", "--clear", str(folder)])
    # pip, because it reads the user's indexes and local files.
    _run([str(interpreter), "-m", "pip", "install", "-q", "-r", str(lock)])
    finished.touch()
    return str(interpreter)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "ERROR" in line.upper()]
        reason = (errors or done.stderr.splitlines() or ["no output"])[-1]
        raise NotSetUp(f"{' '.join(command[1:4])} failed: {reason.strip()[:300]}")
