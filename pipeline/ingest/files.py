"""Ratings files as blocks of whole lines: in byte ranges where they are plain, in order where
they are compressed."""

import dataclasses
import gzip
import hashlib
import math
import zlib
from collections.abc import Iterator
from typing import Any

from tfx.dsl.io import fileio

from pipeline.errors import InputError
from pipeline.ingest import formats

RANGE_BYTES = 32 << 20  # of text that is parsed at once
_RANGES = 8  # of a file, at least, of a megabyte and more, so that several workers share it
_HEAD_BYTES = 1 << 18
_GZIP_RATIO = 4  # text a compressed byte, about, where only the number of buckets depends on it


@dataclasses.dataclass(frozen=True)
class Range:
    """A part of a file that one worker reads: the lines that begin in [start, end)."""

    path: str
    number: int  # among all ranges of the job
    start: int
    end: int
    compressed: bool
    layout: formats.Layout


@dataclasses.dataclass(frozen=True)
class Block:
    """Whole lines. `offset` is the byte of the first line, or its line number if compressed."""

    offset: int
    data: bytes


def list_files(ratings: str) -> list[str]:
    """The files that a path or glob names, sorted.

    Raises:
      InputError: if there are none.
    """
    if fileio.exists(ratings) and not fileio.isdir(ratings):
        return [ratings]
    paths = sorted(str(path) for path in fileio.glob(ratings) if not fileio.isdir(path))
    if not paths:
        raise InputError(
            f"`ratings` must name a file or a glob of files. Received: {ratings!r}, which is no "
            "file. Check the path; it is relative to the folder that the run was started in."
        )
    return paths


def digest(paths: list[str]) -> str:
    """SHA-256 of the contents of files: the same bytes at the same paths give the same digest."""
    sha = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256()
        with fileio.open(path, "rb") as file:
            while data := file.read(RANGE_BYTES):
                content.update(data)
        sha.update(f"{path}\0{content.hexdigest()}\n".encode())
    return sha.hexdigest()


def plan(paths: list[str], layout: str, range_bytes: int = RANGE_BYTES) -> tuple[list[Range], int]:
    """Cuts files into ranges.

    Args:
      paths: of the files.
      layout: the setting of this name.
      range_bytes: of text a range, at most; a compressed file is one range.

    Returns:
      the ranges, and about how many bytes of text there are.

    Raises:
      InputError: if a file is empty, damaged, or its layout cannot be told.
    """
    ranges: list[Range] = []
    text = 0
    for path in paths:
        head, compressed = _head(path)
        recognised = formats.recognise(path, head, layout)
        with fileio.open(path, "rb") as file:
            size = _size(file)
        text += size * (_GZIP_RATIO if compressed else 1)
        count = 1 if compressed else max(math.ceil(size / range_bytes), min(_RANGES, size >> 20))
        for i in range(count):
            start, end = (0, size) if compressed else (i * size // count, (i + 1) * size // count)
            ranges.append(Range(path, len(ranges), start, end, compressed, recognised))
    return ranges, text


def read_blocks(part: Range, block_bytes: int = RANGE_BYTES) -> Iterator[Block]:
    """The lines of a range, a block at a time.

    Raises:
      InputError: if a compressed file is cut off or damaged.
    """
    with fileio.open(part.path, "rb") as file:
        if part.compressed:
            yield from _decompress(part.path, file, block_bytes)
            return
        # A line that begins at `start` is ours: the byte before it ends another.
        begin = max(part.start - 1, 0)
        file.seek(begin)
        data = file.read(part.end - begin)
        if part.start:
            cut = data.find(b"\n") + 1
            if not cut:
                return
            begin, data = begin + cut, data[cut:]
        pieces = [data]
        while pieces[-1] and not pieces[-1].endswith(b"\n"):
            more = file.read(1 << 16)
            newline = more.find(b"\n") + 1
            pieces.append(more[:newline] if newline else more)
        data = b"".join(pieces)
        if data:
            yield Block(begin, data)


def _decompress(path: str, file: Any, block_bytes: int) -> Iterator[Block]:
    line, rest = 1, b""
    try:
        with gzip.GzipFile(fileobj=file) as text:
            while data := text.read(block_bytes):
                data = rest + data
                cut = data.rfind(b"\n") + 1
                if cut:
                    yield Block(line, data[:cut])
                    line += data.count(b"\n", 0, cut)
                rest = data[cut:]
    except (EOFError, OSError, zlib.error) as error:
        raise _damaged(path, error) from error
    if rest:
        yield Block(line, rest)


def _head(path: str) -> tuple[bytes, bool]:
    """The first whole lines of a file, and whether it is compressed."""
    with fileio.open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            head = file.read(_HEAD_BYTES)
        else:
            try:
                with gzip.GzipFile(fileobj=file) as text:
                    head = text.read(_HEAD_BYTES)
            except (EOFError, OSError, zlib.error) as error:
                raise _damaged(path, error) from error
    # The last line may be cut, unless it is the only one.
    whole = head.rfind(b"\n") + 1 if len(head) == _HEAD_BYTES else 0
    return (head[:whole] if whole else head), compressed


def _size(file: Any) -> int:
    file.seek(0, 2)
    return file.tell()


def _damaged(path: str, error: Exception) -> InputError:
    return InputError(f"{path!r} is no whole gzip file ({error}). Fetch it again.")
