"""The files that a setting names: listed, opened and summed up in a digest."""

import dataclasses
import glob
import hashlib
import os
import re
from collections.abc import Iterable
from typing import IO

from pipeline.errors import InputError

_CHUNK = 32 << 20


@dataclasses.dataclass(frozen=True)
class Listing:
    """Data files of a run.

    Attributes:
      paths: sorted.
      skipped: files that hold no ratings by their name or size, and why.
    """

    paths: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()


def list_files(ratings: str, setting: str = "ratings") -> Listing:
    """The data files that a path, a folder or a glob names.

    A folder stands for all files in it and below. In a glob, `**` matches any
    number of folders. A name that exists is taken literally, so that it may
    hold `[` and `]`. Hidden files, names with a leading `_`, checksums (`.crc`)
    and files of zero bytes are skipped, unless one is named by itself.

    Args:
      ratings: the path, folder or glob.
      setting: its name, for messages.

    Raises:
      InputError: if no data file is left.
    """
    if "://" in ratings:
        found = _remote_sizes(ratings, setting)
    elif os.path.isfile(ratings):
        return Listing((ratings,))
    elif os.path.isdir(ratings):
        found = _sizes(
            os.path.join(root, name) for root, _, names in os.walk(ratings) for name in names
        )
    else:
        found = _sizes(path for path in glob.glob(ratings, recursive=True) if os.path.isfile(path))
    paths, skipped = [], []
    for path, size in sorted(found.items()):
        reason = _reason_to_skip(ratings, path, size)
        if reason:
            skipped.append((path, reason))
        else:
            paths.append(path)
    if not paths:
        rest = f" It matches only files without data: {skipped[0][0]!r}." if skipped else ""
        raise InputError(
            f"`{setting}` must name a file, a folder or a glob of files. Received: "
            f"{ratings!r}, where there is no data file.{rest} Check the path; it is relative to "
            "the folder that the run was started in."
        )
    return Listing(tuple(paths), tuple(skipped))


def open_binary(path: str) -> IO[bytes]:
    """Opens a local or remote file for reading; it can seek."""
    if "://" not in path:
        return open(path, "rb")
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def size(path: str) -> int:
    """Bytes of a file."""
    with open_binary(path) as file:
        return file.seek(0, os.SEEK_END)


def digest(paths: Iterable[str]) -> str:
    """SHA-256 of the paths and contents of files."""
    total = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256()
        with open_binary(path) as file:
            while data := file.read(_CHUNK):
                content.update(data)
        total.update(f"{path}\0{content.hexdigest()}\n".encode())
    return total.hexdigest()


def _sizes(paths: Iterable[str]) -> dict[str, int]:
    return {path: os.path.getsize(path) for path in paths}


def _remote_sizes(ratings: str, setting: str) -> dict[str, int]:
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems

    patterns = [ratings, ratings.rstrip("/") + "/**"]  # the second finds the files of a folder
    try:
        for result in FileSystems.match(patterns):
            if result.metadata_list:
                return {file.path: file.size_in_bytes for file in result.metadata_list}
    except (BeamIOError, ValueError) as error:
        raise InputError(
            f"`{setting}` must be readable. Received: {ratings!r}, which gives: {error}. Check the "
            "address, and that the file system's package of Apache Beam is installed."
        ) from None
    return {}


def _reason_to_skip(ratings: str, path: str, size: int) -> str:
    fixed = re.split(r"[*?[]", ratings)[0]  # folders that were named are read, whatever their name
    base = fixed if os.path.isdir(fixed) else os.path.dirname(fixed)
    parts = path.removeprefix(base).strip("/").split("/")
    if any(part.startswith(".") for part in parts):
        return "hidden"
    if any(part.startswith("_") for part in parts):
        return "a marker"
    if path.endswith(".crc"):
        return "a checksum"
    return "" if size else "empty"
