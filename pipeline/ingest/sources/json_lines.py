"""JSON lines: one object a line, as Amazon's reviews have them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.ingest.sources import event_columns, times
from pipeline.ingest.sources.layout import (
    JSONL,
    NEEDED,
    RATING,
    TIME,
    Layout,
    known_names,
    roles_of,
)
from pipeline.ingest.sources.records import NOT_UTF8, BadLine, Lines, Range, Records, text_blocks
from transforms import features


def recognise(path: str, lines: Sequence[str], columns: str, event_fields: str = "") -> Layout:
    """The layout of JSON lines, by the first of them.

    Args:
      path: of the file, for messages.
      lines: its first lines.
      columns: the setting.
      event_fields: the setting; an object may lack them.

    Raises:
      InputError: if no object has a user, an item and a time.
      SettingsError: if no object has an event field.
    """
    objects = [value for value in map(_object, lines) if isinstance(value, dict)]
    complete: list[tuple[dict[str, str], dict[str, Any]]] = []
    for value in objects:
        try:
            roles = roles_of(path, list(value), columns)
        except InputError:
            if not columns:
                raise
            continue
        if roles.keys() >= NEEDED:
            complete.append((roles, value))
    if not complete:
        raise InputError(
            f"{path!r} must have JSON objects with a user, an item and a time. Known names: "
            f"{known_names()}. Received: {lines[0][:200]!r}. For other names set, for example, "
            'IMN_COLUMNS="user=uid,item=sku,time=at".'
        )
    roles, value = next((entry for entry in complete if RATING in entry[0]), complete[0])
    names = list(dict.fromkeys(key for other in objects for key in other))
    events = event_columns.roles_of(path, names, roles, event_fields)
    sample = {role: _text(value[key]) for role, key in roles.items()}
    sample |= {role: _event_text(value.get(key)) for role, key in events.items()}
    roles |= events
    values = (_text(other.get(roles[TIME])) for other in objects)
    unit = times.unit(text for text in values if text) or "s"
    return Layout(JSONL, tuple(roles.values()), roles, unit=unit, sample=sample)


def read(part: Range, block_bytes: int) -> Iterator[Records]:
    """The rows of a range, a block at a time."""
    events = features.of_events(part.layout.roles)
    for block in text_blocks(part, block_bytes):
        lines = Lines(block, bool(part.compression))
        columns: dict[str, list[Any]] = {role: [] for role in part.layout.roles}
        keyed = [(columns[role].append, key) for role, key in part.layout.roles.items()]
        rows: list[int] = []
        bad: list[BadLine] = []
        spans = zip(lines.begins.tolist(), lines.ends.tolist(), strict=True)
        for index, (begin, end) in enumerate(spans):
            value = _parse(block.data[begin:end])
            if isinstance(value, str):
                bad.append((int(lines.places[index]), value, lines.text(index)))
            else:
                rows.append(index)
                for append, key in keyed:
                    append(value.get(key))
        yield Records(
            {
                role: pa.array(map(_event_text, columns[role]), pa.string())
                if role in events
                else _texts(columns[role], key, lines, rows)
                for role, key in part.layout.roles.items()
            },
            lines.places[np.array(rows, np.int64)],
            lambda row, lines=lines, rows=rows: lines.text(rows[row]),  # type: ignore[misc]
            bad,
            len(lines),
        )


def _parse(line: bytes) -> dict[str, Any] | str:
    """The object of a line, or why it has none."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return NOT_UTF8
        return "not JSON"
    return value if type(value) is dict else "not a JSON object"


def _texts(values: list[Any], key: str, lines: Lines, rows: list[int]) -> pa.Array:
    """The values of one key as texts; "" for what is neither text nor number."""
    kinds = set(map(type, values))
    if kinds == {str}:
        return pa.array(values, pa.string())
    if kinds == {int} and min(values) >= -(2**63) and max(values) < 2**63:
        return pa.array(values, pa.int64()).cast(pa.string())
    for index, number in enumerate(values):
        if type(number) is float and abs(number) >= 2**53:  # a long id keeps its digits
            exact = json.loads(lines.bytes_of(rows[index]), parse_int=str, parse_float=str)
            values[index] = exact[key]
    return pa.array(map(_text, values), pa.string())


def _object(line: str) -> Any:
    return _parse(line.encode("utf-8", "replace"))


def _text(value: Any) -> str:
    """A text or a number as text; "" for anything else."""
    if isinstance(value, str):
        return value
    return repr(value) if type(value) in (int, float) else ""


def _event_text(value: Any) -> str:
    """The value of an event field as text: also true and false."""
    return str(value).lower() if type(value) is bool else _text(value)
