"""The folder that a run writes to: one run at a time, without what a killed run left."""

import contextlib
import fcntl
import glob
import os
import shutil
import sqlite3
from collections.abc import Iterator

from pipeline.errors import InputError

_LOCK = ".lock"
_SPILL = os.path.join("pipeline", "*", "RatingsExampleGen", "examples", "*", "spill")
_WAIT_SECONDS = 5.0  # for another process that writes to the metadata file


@contextlib.contextmanager
def locked(output: str) -> Iterator[None]:
    """Makes the folder and holds it, so that a second run stops at once.

    Raises:
      InputError: if the folder cannot be written, or if another run holds it.
    """
    try:
        os.makedirs(output, exist_ok=True)
        file = open(os.path.join(output, _LOCK), "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"`output` must be a folder that can be written. {error}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise InputError(
                f"`output` must belong to one run at a time. {output} is in use by process "
                f"{file.read().strip() or 'unknown'}. Wait for it, or give another OUTPUT."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        for folder in glob.glob(os.path.join(output, _SPILL)):
            shutil.rmtree(folder, ignore_errors=True)
        yield


def check_metadata(path: str) -> None:
    """Finds a metadata file that a run could not use, before TFX waits for it.

    Raises:
      InputError: if the file is locked by another process, damaged, or no SQLite database.
    """
    if not os.path.exists(path):
        return
    try:
        connection = sqlite3.connect(path, timeout=_WAIT_SECONDS)
        with contextlib.closing(connection):
            connection.execute("PRAGMA schema_version").fetchall()
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.DatabaseError as error:
        cure = (
            "Another process holds it: stop that process."
            if "locked" in str(error)
            else "Restore it from a copy, or give another OUTPUT; trained models are not touched."
        )
        raise InputError(f"The metadata file {path} cannot be used ({error}). {cure}") from None
