"""From a block of lines to events, and to the lines that are none.

A block goes through Arrow's reader as a whole. Only where that fails, or where
it does not give one row a line, is the block halved, again and again, until
the lines at fault lie in small pieces that are looked at one by one.
"""

import csv
import dataclasses
import json
import math
import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json

from pipeline.ingest.files import Block, Range
from pipeline.ingest.formats import ITEM, RATING, TIME, USER, Layout

FIRST_TIME = 788_918_400  # 1995-01-01, before which Amazon sold nothing
EVENTS = pa.schema([(USER, pa.binary()), (ITEM, pa.binary()), (TIME, pa.int64())])
_LINE_BY_LINE = 2048  # lines in a piece that is not halved further
_SHOWN = 200  # characters of a bad line that are kept
_TYPES = {USER: pa.string(), ITEM: pa.string(), RATING: pa.float64(), TIME: pa.int64()}
_INTEGER = re.compile(r"\s*-?[0-9]{1,18}\s*")


@dataclasses.dataclass
class Parsed:
    """What a block holds.

    Attributes:
      events: user, item and time (seconds) of the rated lines, as in `EVENTS`.
      lines: how many lines are not blank.
      unwanted: how many of them have a rating below the wanted one.
      bad: the bad lines: place, reason, text.
    """

    events: pa.RecordBatch
    lines: int
    unwanted: int
    bad: list[tuple[int, str, str]]


def parse(part: Range, block: Block, min_rating: float, now: float) -> Parsed:
    """Events and bad lines of a block.

    Args:
      part: the range that the block is of.
      block: whole lines.
      min_rating: ratings below are no events.
      now: seconds since 1970; a time more than a day later is bad.
    """
    data = np.frombuffer(block.data, np.uint8)
    ends = np.flatnonzero(data == ord("\n")) + 1
    if not len(ends) or ends[-1] != len(data):
        ends = np.append(ends, len(data))
    begins = np.append(0, ends[:-1])
    if begins[0] == 0 and block.data.startswith(b"\xef\xbb\xbf") and _is_first(part, block):
        begins[0] = 3
    places = (np.arange(len(ends)) if part.compressed else begins) + block.offset
    # A blank line is nothing, or a carriage return, before its newline.
    width = ends - begins - (data[ends - 1] == ord("\n"))
    filled = (width > 1) | ((width == 1) & (data[begins.clip(max=len(data) - 1)] != ord("\r")))
    lines = _Lines(block.data, begins[filled], ends[filled], places[filled])
    if part.layout.kind == "header" and _is_first(part, block):
        lines = lines[1:]
    tables: list[pa.Table] = []
    bad: list[tuple[int, str, str]] = []
    _collect(lines, part.layout, now, tables, bad)
    table = pa.concat_tables(tables) if tables else _empty(part.layout)
    lines_read = len(lines) - sum(reason == _BLANK for _, reason, _ in bad)
    bad = [entry for entry in bad if entry[1] != _BLANK]
    unwanted = 0
    if RATING in part.layout.roles:
        wanted = table[RATING].to_numpy() >= min_rating
        unwanted = int(np.count_nonzero(~wanted))
        if unwanted:
            table = table.filter(pa.array(wanted))
    events = table.select([USER, ITEM, TIME]).cast(EVENTS).combine_chunks()
    batches = events.to_batches()
    empty = pa.RecordBatch.from_arrays(
        [pa.array([], field.type) for field in EVENTS], schema=EVENTS
    )
    return Parsed(batches[0] if batches else empty, lines_read, unwanted, bad)


_BLANK = "blank"


class _Lines:
    """Lines of a block: where each begins and ends, and its place in the file."""

    def __init__(self, data: bytes, begins: np.ndarray, ends: np.ndarray, places: np.ndarray):
        self.data, self.begins, self.ends, self.places = data, begins, ends, places

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, rows: slice) -> "_Lines":
        return _Lines(self.data, self.begins[rows], self.ends[rows], self.places[rows])

    def text(self, row: int) -> bytes:
        return self.data[self.begins[row] : self.ends[row]]

    def span(self) -> memoryview:
        """All lines, with whatever blank ones lie between them."""
        return memoryview(self.data)[self.begins[0] : self.ends[-1]]


def _collect(lines: _Lines, layout: Layout, now: float, tables: list[pa.Table], bad: list) -> None:
    """Appends the rows of good lines to `tables` and the others to `bad`."""
    if not len(lines):
        return
    table = _parse_whole(lines, layout)
    if table is not None:
        reason = _reasons(table, now)
        good = reason == 0
        if not good.all():
            for row in np.flatnonzero(~good):
                _refuse(lines, row, _ROW_REASONS[reason[row]], bad)
            table = table.filter(pa.array(good))
        tables.append(table)
    elif len(lines) > _LINE_BY_LINE:
        half = len(lines) // 2
        _collect(lines[:half], layout, now, tables, bad)
        _collect(lines[half:], layout, now, tables, bad)
    else:
        _collect_slowly(lines, layout, now, tables, bad)


def _parse_whole(lines: _Lines, layout: Layout) -> pa.Table | None:
    """A table with a row a line, by Arrow; None if there is a line that Arrow cannot read."""
    span = lines.span()
    try:
        str(span, "utf-8")
        table = _read_json(span, layout) if layout.kind == "jsonl" else _read_csv(span, layout)
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError):
        return None
    if len(table) != len(lines) or any(column.null_count for column in table.columns):
        return None
    return _in_seconds(table, layout)


def _read_csv(span: memoryview, layout: Layout) -> pa.Table:
    wanted = [layout.roles[role] for role in _TYPES if role in layout.roles]
    # `read_csv` walks all of Python's objects at each call (for Ctrl-C); this one does not.
    with pa.csv.open_csv(
        pa.BufferReader(pa.py_buffer(span)),
        pa.csv.ReadOptions(
            column_names=list(layout.columns), use_threads=False, block_size=len(span) + 1
        ),
        pa.csv.ParseOptions(delimiter=layout.delimiter),
        pa.csv.ConvertOptions(
            column_types={layout.roles[role]: _TYPES[role] for role in layout.roles},
            include_columns=wanted,
            null_values=[],
            check_utf8=False,
        ),
    ) as reader:
        table = reader.read_all()
    return table.rename_columns([role for role in _TYPES if role in layout.roles])


def _read_json(span: memoryview, layout: Layout) -> pa.Table:
    schema = pa.schema([(layout.roles[role], _TYPES[role]) for role in _TYPES])
    table = pa.json.read_json(
        pa.BufferReader(pa.py_buffer(span)),
        pa.json.ReadOptions(use_threads=False, block_size=len(span) + 1),
        pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )
    return table.select([layout.roles[role] for role in _TYPES]).rename_columns(list(_TYPES))


def _in_seconds(table: pa.Table, layout: Layout) -> pa.Table:
    if not layout.milliseconds:
        return table
    seconds = pa.array(table[TIME].to_numpy() // 1000)
    return table.set_column(table.column_names.index(TIME), TIME, seconds)


_ROW_REASONS = (
    "",
    "no user",
    "no item",
    "rating is no number",
    "time before 1995",
    "time in the future",
)


def _reasons(table: pa.Table, now: float) -> np.ndarray:
    """Index into `_ROW_REASONS` of each row, shape (N,); 0 is a good row."""
    reason = np.zeros(len(table), np.int8)
    times = table[TIME].to_numpy()
    reason[times > now + 86_400] = 5
    reason[times < FIRST_TIME] = 4
    if RATING in table.column_names:
        reason[~np.isfinite(table[RATING].to_numpy())] = 3
    for code, role in ((2, ITEM), (1, USER)):
        reason[pc.equal(table[role], "").to_numpy()] = code
    return reason


def _collect_slowly(
    lines: _Lines, layout: Layout, now: float, tables: list[pa.Table], bad: list
) -> None:
    rows: list[tuple] = []
    found: list[int] = []
    for row in range(len(lines)):
        result = _parse_line(lines.text(row), layout)
        if isinstance(result, str):
            _refuse(lines, row, result, bad)
        else:
            rows.append(result)
            found.append(row)
    if not rows:
        return
    roles = [role for role in _TYPES if role in layout.roles]
    columns = [
        pa.array(column, _TYPES[role])
        for column, role in zip(zip(*rows, strict=True), roles, strict=False)
    ]
    table = _in_seconds(pa.Table.from_arrays(columns, names=roles), layout)
    reason = _reasons(table, now)
    for row in np.flatnonzero(reason):
        _refuse(lines, found[row], _ROW_REASONS[reason[row]], bad)
    tables.append(table.filter(pa.array(reason == 0)))


def _parse_line(line: bytes, layout: Layout) -> tuple | str:
    """User, item, rating if there is one, and time of a line; or why it has none."""
    try:
        text = line.decode("utf-8").strip("\r\n")
    except UnicodeDecodeError:
        return "not UTF-8"
    if not text.strip():
        return _BLANK
    values: Mapping[str, object]
    if layout.kind == "jsonl":
        try:
            values = json.loads(text)
        except ValueError:
            return "not JSON"
        if not isinstance(values, dict):
            return "not a JSON object"
    else:
        try:
            (fields,) = csv.reader([text], delimiter=layout.delimiter)
        except (csv.Error, ValueError):
            return "wrong number of fields"
        if len(fields) != len(layout.columns):
            return "wrong number of fields"
        values = dict(zip(layout.columns, fields, strict=True))
    user, item = (values.get(layout.roles[role]) for role in (USER, ITEM))
    if not isinstance(user, str) or not user:
        return "no user"
    if not isinstance(item, str) or not item:
        return "no item"
    numbers = []
    if RATING in layout.roles:
        rating = _number(values.get(layout.roles[RATING]))
        if rating is None:
            return "rating is no number"
        numbers.append(rating)
    time = values.get(layout.roles[TIME])
    if time is None or time == "":
        return "no time"
    if isinstance(time, bool) or not _INTEGER.fullmatch(str(time)):
        return "time is no whole number"
    return (user, item, *numbers, int(str(time)))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _refuse(lines: _Lines, row: int, reason: str, bad: list) -> None:
    text = lines.text(row).decode("utf-8", "backslashreplace").strip("\r\n")
    bad.append((int(lines.places[row]), reason, text[:_SHOWN]))


def _is_first(part: Range, block: Block) -> bool:
    return block.offset == (1 if part.compressed else 0)


def _empty(layout: Layout) -> pa.Table:
    roles = [role for role in _TYPES if role in layout.roles]
    return pa.table({role: pa.array([], _TYPES[role]) for role in roles})
