"""Delimited text: CSV, TSV and the like, with or without quotes (RFC 4180).

A line without a quote is split at its separators, all such lines of a block at
once. A line with a quote goes through Python's csv module by itself, so that
what becomes of a line depends on that line alone. Only where a file has more
columns than a rating needs may a quoted field, such as a review's text, span
lines; such a file is read in order. In tab-separated text, quotes that do not
match are characters like others.
"""

import csv
import functools
import re
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.ingest.sources import compression, filesystem
from pipeline.ingest.sources.delimited_layout import split
from pipeline.ingest.sources.layout import NEEDED, ROLES, Layout, roles_of
from pipeline.ingest.sources.records import (
    NOT_UTF8,
    BadLine,
    Block,
    Lines,
    Range,
    Records,
    text_blocks,
)
from transforms import features

_FIELDS = "wrong number of fields"
_QUOTES = "quotes that do not match"
_MOST_LINES, _MOST_BYTES = 1_000, 1 << 16  # of a quoted field that spans lines
_BLANKS = re.compile(r'"[ \t\xa0]+(?=[^\w\s"]|$)')  # between a closing quote and a separator
_UNSAFE = re.compile(r'["\n]')  # in an id: the rest of a field that was opened elsewhere
_ONE_BYTE = b"\x1f"  # stands for a separator of several bytes
csv.field_size_limit(1 << 30)


def may_span_lines(path: str, kind: str, layout: Layout) -> bool:
    """Whether a file can have a quoted field that spans lines."""
    if len(layout.columns) <= len(set(layout.roles.values())):
        return False
    with compression.open_text(path, kind) if kind else filesystem.open_binary(path) as file:
        return any(b'"' in data for data in iter(functools.partial(file.read, 1 << 24), b""))


def read(part: Range, block_bytes: int) -> Iterator[Records]:
    """The rows of a range, a block at a time."""
    separator = part.layout.separator.encode()
    rest = b""
    header_left = part.layout.header and part.start == 0
    for block in text_blocks(part, block_bytes):
        block = Block(block.offset - _size(part, rest), rest + block.data, block.last)
        places = Lines(block, bool(part.compression))
        text = places
        if len(separator) > 1:
            data = block.data.replace(_ONE_BYTE, b"?").replace(separator, _ONE_BYTE)
            text = Lines(Block(block.offset, data, block.last), bool(part.compression))
        if header_left and len(places):
            header_left = False
            places.drop_first()
            if text is not places:
                text.drop_first()
        parsed = _Parsed(part, places, text)
        rest = block.data[parsed.open_at :] if parsed.open_at is not None else b""
        yield parsed.records()


def _size(part: Range, data: bytes) -> int:
    return data.count(b"\n") if part.compression else len(data)


def second_header(layout: Layout, text: str) -> bool:
    """Whether a line that is no rating repeats the header, as in files that were joined.

    Raises:
      InputError: if it is a header of other columns than the layout's.
    """
    rows = split([text], layout.separator)
    try:
        roles = roles_of("", rows[0], "") if rows else {}
    except InputError:
        return False
    if not roles.keys() >= NEEDED:
        return False
    positions = {role: rows[0].index(name) for role, name in roles.items()}
    same = len(rows[0]) == len(layout.columns) and all(
        positions.get(role) == layout.position(role) for role in ROLES if role in layout.roles
    )
    events = features.of_events(layout.roles)
    if same and layout.header:
        same = all(rows[0][layout.position(role)] == layout.roles[role] for role in events)
    if not same:
        raise InputError(
            f"it is a header with other columns than before: {text[:200]!r}. Files of different "
            "columns were joined. Give them one by one."
        )
    return True


class _Parsed:
    """The rows of a block: fields of lines without quotes, and of those with them."""

    def __init__(self, part: Range, lines: Lines, text: Lines) -> None:
        self._lines, self._layout = lines, part.layout
        self._multiline = part.multiline
        self._separator = ord(
            _ONE_BYTE if len(part.layout.separator) > 1 else part.layout.separator
        )
        self.open_at: int | None = None  # byte at which a field begins that the block does not end
        self._bad: list[BadLine] = []
        plain = np.ones(len(text), bool)
        for reason, found in ((NOT_UTF8, text.not_utf8()), ("a NUL byte", text.holding(0))):
            for index in found[plain[found]].tolist():
                self._refuse(index, reason)
            plain[found] = False
        quoted = text.holding(ord('"'))
        fields, rows = self._quoted(text, quoted[plain[quoted]], plain)
        self._rows, self._columns = self._split(text, plain)
        if rows:
            self._rows = np.concatenate([self._rows, np.array(rows, np.int64)])
            self._columns = {
                role: pa.concat_arrays([column, pa.array(fields[role], pa.string())])
                for role, column in self._columns.items()
            }

    def records(self) -> Records:
        """The rows of the block, with the place of each."""
        rows = self._rows
        return Records(
            self._columns,
            self._lines.places[rows],
            lambda row: self._lines.text(int(rows[row])),
            self._bad,
            len(rows) + len(self._bad),
        )

    def _refuse(self, index: int, reason: str) -> None:
        self._bad.append((int(self._lines.places[index]), reason, self._lines.text(index)))

    def _split(self, text: Lines, plain: np.ndarray) -> tuple[np.ndarray, dict[str, pa.Array]]:
        """Splits the `plain` lines at separators: the indices of the rows, and their fields."""
        count = len(self._layout.columns)
        at = np.flatnonzero(text.data == self._separator)
        first, fields = _first_and_count(at, text, count)
        for index in np.flatnonzero(plain & (fields != count)).tolist():
            self._refuse(index, _FIELDS)
        rows = np.flatnonzero(plain & (fields == count))
        begins, ends, first = text.begins[rows], text.ends[rows], first[rows]
        columns = {}
        for role in self._layout.roles:
            position = self._layout.position(role)
            begin = begins if position == 0 else at[first + position - 1] + 1
            end = ends if position == count - 1 else at[first + position]
            columns[role] = _slices(text.block.data, begin, end)
        return rows, columns

    def _quoted(
        self, text: Lines, quoted: np.ndarray, plain: np.ndarray
    ) -> tuple[dict[str, list[str]], list[int]]:
        """Parses lines with quotes, and takes them and what they span out of `plain`."""
        positions = {role: self._layout.position(role) for role in self._layout.roles}
        fields: dict[str, list[str]] = {role: [] for role in positions}
        rows: list[int] = []
        done = -1
        for index in quoted.tolist():
            if index <= done:
                continue
            source = _SomeLines(text, index, plain, _MOST_LINES if self._multiline else 1)
            row = self._fields(source)
            spanned = source.lines if row else 1
            row = row or self._fields([_BLANKS.sub('"', text.text(index))])
            if source.at_end and not row and not text.block.last:
                self._leave_from(text, index, plain)
                break
            if self._separator == ord("\t") and len(row) != len(self._layout.columns):
                row, spanned = text.text(index).split("\t"), 1  # a quote is a character here
            values, done = {}, index
            if len(row) == len(self._layout.columns):
                values = {role: row[position] for role, position in positions.items()}
                done = index + spanned - 1
            plain[index : done + 1] = False
            if not values or any(_UNSAFE.search(values.get(role, "")) for role in ROLES):
                self._refuse(index, _QUOTES if values or not row else _FIELDS)
                continue
            rows.append(index)
            for role, value in values.items():
                fields[role].append(value)
        return fields, rows

    def _fields(self, lines: Iterable[str]) -> list[str]:
        """The fields of the first row of some lines; none if its quotes do not match."""
        reader = csv.reader(
            lines, delimiter=chr(self._separator), strict=True, skipinitialspace=True
        )
        try:
            return next(reader)
        except (csv.Error, StopIteration):
            return []

    def _leave_from(self, text: Lines, index: int, plain: np.ndarray) -> None:
        """Leaves the last lines to the next block, where an open field may end."""
        self.open_at = int(self._lines.begins[index])
        plain[index:] = False
        self._bad = [entry for entry in self._bad if entry[0] < self._lines.places[index]]


class _SomeLines:
    """A line, and those after it as far as a quoted field may span, for csv's reader."""

    def __init__(self, text: Lines, index: int, usable: np.ndarray, most: int) -> None:
        self._text, self._next, self._usable, self._most = text, index, usable, most
        self._bytes = 0
        self.lines = 0
        self.at_end = False  # the block ended before the field did

    def __iter__(self) -> "_SomeLines":
        return self

    def __next__(self) -> str:
        if self.lines == self._most or (self.lines and self._bytes > _MOST_BYTES):
            raise StopIteration
        if self._next == len(self._text):
            self.at_end = True
            raise StopIteration
        if not self._usable[self._next]:
            raise StopIteration
        line = self._text.bytes_of(self._next)
        self._bytes += len(line)
        self.lines += 1
        self._next += 1
        return line.decode() + "\n"


def _first_and_count(at: np.ndarray, text: Lines, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Index in `at` of the first separator of each line, and its number of fields."""
    if count > 1 and len(at) == (count - 1) * len(text):  # as many as if all lines were rows
        by_line = at.reshape(len(text), count - 1)
        if (by_line[:, 0] >= text.begins).all() and (by_line[:, -1] < text.ends).all():
            return np.arange(len(text)) * (count - 1), np.full(len(text), count)
    first = np.searchsorted(at, text.begins)
    return first, np.searchsorted(at, text.ends) - first + 1


def _slices(data: bytes, begins: np.ndarray, ends: np.ndarray) -> pa.Array:
    """The texts data[begin:end] of slices that do not overlap and are in order."""
    offsets = np.empty(2 * len(begins) + 1, np.int32)
    offsets[0:-1:2], offsets[1::2] = begins, ends
    offsets[-1] = ends[-1] if len(ends) else 0
    # Every other text lies between two slices.
    everything = pa.StringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data)
    )
    return everything.take(pa.array(np.arange(0, 2 * len(begins), 2)))
