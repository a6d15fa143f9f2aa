"""The files that a setting names: listed, opened and summed up in a digest."""

import dataclasses
import functools
import glob
import hashlib
import heapq
import os
import re
from collections.abc import Iterable, Iterator
from typing import IO

from pipeline.errors import InputError

_CHUNK = 32 << 20
_UNREAD = -1  # in place of a size


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

    A folder stands for all files in it and below, also in folders that links name. A file that
    can be reached in several ways is read once. In a glob, `**` matches any
    number of folders. A name that exists is taken literally, so that it may
    hold `[` and `]`. Hidden files, names with a leading `_`, checksums (`.crc`),
    broken links and files of zero bytes are skipped, unless one is named by itself.

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
        found = _sizes(ratings, _files(ratings))
    else:
        found = _sizes(ratings, (path for path in _matches(ratings) if not os.path.isdir(path)))
    paths, skipped = [], []
    for path, size in sorted(found.items()):
        reason = _reason_to_skip(ratings, path, size)
        if reason:
            skipped.append((path, reason))
        else:
            paths.append(path)
    if not paths:
        rest = (
            f" It matches only files without data: {skipped[0][0]!r} ({skipped[0][1]})."
            if skipped
            else ""
        )
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


def _files(folder: str) -> Iterator[str]:
    """The files in a folder and below; and folders that cannot be read."""
    for inner, names in _folders(folder):
        if names is None:
            yield inner
        else:
            paths = (os.path.join(inner, name) for name in names)
            yield from (path for path in paths if not os.path.isdir(path))


def _matches(pattern: str) -> Iterator[str]:
    """What a glob matches. Python's own `**` goes round in circles of links."""
    head, stars, tail = re.sub(r"(^|/)\*\*$", r"\1**/*", pattern).partition("**/")
    if not stars or not (head.endswith("/") or not head):
        yield from glob.glob(pattern)
        return
    for base in glob.glob(head) if head else [""]:
        for folder, _ in _folders(base, hidden=False):
            yield from _matches(os.path.join(glob.escape(folder), tail))


def _folders(base: str, hidden: bool = True) -> Iterator[tuple[str, list[str] | None]]:
    """A folder and those below it, each once, also where links lead; and the names in each.

    The names are None if a folder cannot be read.
    """
    seen = set()
    waiting = [(False, 0, base)]  # first by names that are read, and with few links
    while waiting:
        marked, links, folder = heapq.heappop(waiting)
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            names = os.listdir(folder or ".")
        except OSError:
            yield folder, None
            continue
        yield folder, names
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isdir(path) and (hidden or not name.startswith(".")):
                mark = marked or name.startswith((".", "_"))
                heapq.heappush(waiting, (mark, links + os.path.islink(path), path))


def _sizes(ratings: str, paths: Iterable[str]) -> dict[str, int]:
    """Bytes of files, each of them once; _UNREAD for what cannot be read."""
    found: dict[tuple[str, str], tuple[bool, int, str, int]] = {}
    real = functools.cache(os.path.realpath)
    for path in paths:
        try:
            size = _UNREAD if os.path.isdir(path) else os.path.getsize(path)
        except OSError:
            size = _UNREAD
        # Of several ways to a file, one that is not skipped, and then the shortest.
        way = (bool(_reason_to_skip(ratings, path, size)), len(path), path, size)
        folder, name = os.path.split(path)
        key = (real(folder), name)
        found[key] = min(found.get(key, way), way)
    return {path: size for _, _, path, size in found.values()}


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
    if size == _UNREAD:
        return "a broken link" if os.path.islink(path) else "not readable"
    return "" if size else "empty"
