"""Ratings files as events: the plan of what to read, and the reading."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from pipeline.configs import Ingestion
from pipeline.errors import InputError
from pipeline.ingest.sources import (
    compression,
    delimited,
    delimited_layout,
    filesystem,
    interpret,
    json_lines,
    parquet,
)
from pipeline.ingest.sources.interpret import Parsed
from pipeline.ingest.sources.layout import JSONL, NAMES, PARQUET, TIME, EmptyFileError, Layout
from pipeline.ingest.sources.records import BLOCK_BYTES, Range, Records

_RANGES = 8  # of a file, at least, of a megabyte and more, so that several workers share it
_RATIO = 4  # text a compressed byte, about, where only the number of buckets depends on it
_SHOWN = 200  # characters of a bad line that are kept
_LINES = 1_000  # of the head, at most, that decide the layout
_UTF8_MARK = b"\xef\xbb\xbf"


class EventSource(Protocol):
    """Reads the rows of a range of one format, a block at a time."""

    def __call__(self, part: Range, block_bytes: int) -> Iterator[Records]:
        """The rows, as texts."""


_SOURCES: dict[str, EventSource] = {
    "delimited": delimited.read,
    JSONL: json_lines.read,
    PARQUET: parquet.read,
}


def _recognise(path: str, layout: str, settings: Ingestion) -> tuple[Layout, str]:
    """Layout and compression of a file."""
    columns, events = settings.columns, settings.event_fields
    kind = compression.kind(path)
    if kind == PARQUET:
        return parquet.recognise(path, columns, events)[0], kind
    head = compression.head(path, kind).removeprefix(_UTF8_MARK).decode("utf-8", "replace")
    lines = [line for line in head.split("\n") if line.strip("\r\ufeff \t")][:_LINES]
    if not lines:
        raise EmptyFileError(f"`ratings` names {path!r}, which is empty. Give files with ratings.")
    if layout == JSONL or (layout == "auto" and lines[0].lstrip().startswith("{")):
        return json_lines.recognise(path, lines, columns, events), kind
    separator = settings.separator
    found = delimited_layout.recognise(path, lines, layout, columns, separator)
    found = delimited_layout.with_event_fields(path, found, lines, events)
    for number, line in enumerate(lines[1:], 2):  # a fault here need not wait for the Beam job
        if any(name in line.lower() for name in NAMES[TIME]):
            _is_second_header(f"{path} near line {number}", found, line)
    return found, kind


def layouts(paths: Sequence[str], settings: Ingestion) -> dict[str, tuple[Layout, str]]:
    """The layout and the compression of each file.

    Files whose ids do not tell the order of their columns follow the others. Empty files beside
    others are left out: without a line, with a header alone, or Parquet without a row.

    Raises:
      InputError: if a file has no known layout, or if two files disagree.
    """
    found: dict[str, tuple[Layout, str]] = {}
    undecided: list[tuple[str, InputError]] = []
    for path in list(paths):
        try:
            found[path] = _recognise(path, settings.layout, settings)
        except delimited_layout.UndecidedError as error:
            undecided.append((path, error))
        except EmptyFileError:
            if len(paths) == 1:
                raise
    decided = next(iter(found.values()), None)
    for path, reason in undecided:
        if decided is None or decided[0].kind not in ("2014", "2018"):
            raise reason
        found[path] = _recognise(path, decided[0].kind, settings)
    if not found:
        raise EmptyFileError(f"`ratings` names {len(paths)} files, which are all empty.")
    with_rows = [path for path in sorted(found) if not _is_header_alone(path, *found[path])]
    found = {path: found[path] for path in with_rows or sorted(found)}
    first, *rest = found
    for path in rest:
        if found[path][0] != found[first][0]:
            raise InputError(
                f"All files must have the same columns and unit of time. {first!r} has "
                f"{found[first][0].describe()}; {path!r} has {found[path][0].describe()}. Give "
                "them one by one, or convert one."
            )
    return found


def _is_header_alone(path: str, layout: Layout, kind: str) -> bool:
    """Whether a file holds a header and no other line."""
    if not layout.header or any(layout.sample.values()):
        return False
    head = compression.head(path, kind)
    with compression.open_text(path, kind) as text:
        whole = len(text.read(len(head) + 1)) <= len(head)
    return whole and sum(bool(line.strip(b"\r\t \xef\xbb\xbf")) for line in head.split(b"\n")) <= 1


def plan(settings: Ingestion, range_bytes: int = BLOCK_BYTES) -> tuple[list[Range], int]:
    """Cuts the files of `ratings` into ranges.

    Args:
      settings: `ratings`, `layout`, `columns`, `separator` and `event_fields`.
      range_bytes: of text a range, at most; a compressed file is one range.

    Returns:
      the ranges, and about how many bytes of text there are.

    Raises:
      InputError: if a file is empty or damaged, or as `layouts` does.
    """
    paths = filesystem.list_files(settings.ratings).paths
    ranges: list[Range] = []
    text = 0
    for path, (layout, kind) in layouts(paths, settings).items():
        size = filesystem.size(path)
        multiline = layout.format == "delimited" and delimited.may_span_lines(path, kind, layout)
        text += size * (_RATIO if kind else 1)
        end = size
        if kind == PARQUET:
            _, end = parquet.recognise(path, settings.columns)
            count = end
        elif kind or multiline:
            count = 1
        else:
            count = max(math.ceil(size / range_bytes), min(_RANGES, size >> 20))
        for i in range(count):
            edges = (i * end // count, (i + 1) * end // count)
            ranges.append(Range(path, len(ranges), *edges, kind, layout, multiline))
    return ranges, text


def read(
    part: Range, min_rating: float, now: float | None = None, block_bytes: int = BLOCK_BYTES
) -> Iterator[Parsed]:
    """The events of a range, a block at a time.

    Args:
      part: of a file.
      min_rating: ratings below are no events.
      now: seconds since 1970; a time more than a day later is bad. None: the clock's.
      block_bytes: of text that is parsed at once.

    Raises:
      InputError: if the file is damaged, or if files of different columns were joined.
    """
    now = time.time() if now is None else now
    for records in _SOURCES[part.layout.format](part, block_bytes):
        parsed = interpret.events(records, part.layout, min_rating, now)
        if part.layout.format == "delimited":
            _leave_out_headers(part, parsed)
        parsed.bad = [(place, reason, text[:_SHOWN]) for place, reason, text in parsed.bad]
        yield parsed


def read_all(settings: Ingestion, min_rating: float) -> Iterator[Parsed]:
    """The events of all files of `ratings`, in order."""
    for part in plan(settings)[0]:
        yield from read(part, min_rating)


def describe(settings: Ingestion) -> list[str]:
    """What a run will read: its files, and the layout with a row that was read by it.

    Raises:
      InputError: as `layouts` does, or if no file begins with rows that can be read.
    """
    listing = filesystem.list_files(settings.ratings)
    found = layouts(listing.paths, settings)
    paths = list(found)
    skipped = [*listing.skipped, *((path, "empty") for path in listing.paths if path not in found)]
    shown = ", ".join(paths[:10]) + (", …" if len(paths) > 10 else "")
    lines = [f"Ratings: {len(paths)} file{'s' if len(paths) > 1 else ''}: {shown}"]
    lines += [f"  left out: {path} ({reason})" for path, reason in skipped[:10]]
    with_rows = [path for path in paths if any(found[path][0].sample.values())]
    if not with_rows:
        raise InputError(
            "`ratings` must have rows with a user, an item and a time. None of the first lines of "
            f"{paths[0]!r} has a time that can be read: a number since 1970, or ISO 8601. Look at "
            "the file, or say which column is the time with IMN_COLUMNS."
        )
    return [*lines, f"  {found[with_rows[0]][0].describe()}"]


def _is_second_header(where: str, layout: Layout, text: str) -> bool:
    try:
        return delimited.second_header(layout, text)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _leave_out_headers(part: Range, parsed: Parsed) -> None:
    """Drops repeated headers from the bad lines; a header of other columns is an error."""
    bad = []
    for place, reason, text in parsed.bad:
        if _is_second_header(f"{part.path} at {part.place} {place:,}", part.layout, text):
            parsed.lines -= 1
        else:
            bad.append((place, reason, text))
    parsed.bad = bad
