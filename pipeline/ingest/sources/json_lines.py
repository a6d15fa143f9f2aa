"""JSON lines: one object a line, as Amazon's reviews have them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.ingest.sources import times
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


def recognise(path: str, lines: Sequence[str], columns: str) -> Layout:
    """The layout of JSON lines, by the first of them.

    Raises:
      InputError: if no object has a user, an item and a time.
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
    sample = {role: _text(value[key]) or "" for role, key in roles.items()}
    values = (_text(other.get(roles[TIME])) for other in objects)
    unit = times.unit(text for text in values if text) or "s"
    return Layout(JSONL, tuple(roles.values()), roles, unit=unit, sample=sample)


def read(part: Range, block_bytes: int) -> Iterator[Records]:
    """The rows of a range, a block at a time."""
    keys = list(part.layout.roles.items())
    names = tuple(part.layout.roles.values())
    for block in text_blocks(part, block_bytes):
        lines = Lines(block, bool(part.compression))
        columns: dict[str, list[str]] = {role: [] for role, _ in keys}
        rows: list[int] = []
        bad: list[BadLine] = []
        for index in range(len(lines)):
            value = _parse(lines.bytes_of(index), names)
            if isinstance(value, str):
                bad.append((int(lines.places[index]), value, lines.text(index)))
                continue
            rows.append(index)
            for role, key in keys:
                columns[role].append(_text(value.get(key)))
        yield Records(
            {role: pa.array(texts, pa.string()) for role, texts in columns.items()},
            lines.places[np.array(rows, np.int64)],
            lambda row, lines=lines, rows=rows: lines.text(rows[row]),  # type: ignore[misc]
            bad,
            len(lines),
        )


def _parse(line: bytes, keys: Sequence[str] = ()) -> dict[str, Any] | str:
    """The object of a line, or why it has none. Long numbers keep their digits under `keys`."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return NOT_UTF8
        return "not JSON"
    if not isinstance(value, dict):
        return "not a JSON object"
    for key in keys:
        number = value.get(key)
        if type(number) is float and abs(number) >= 2**53:
            return json.loads(line, parse_int=str, parse_float=str)
    return value


def _object(line: str) -> Any:
    return _parse(line.encode("utf-8", "replace"))


def _text(value: Any) -> str:
    """A text or a number as text; "" for anything else."""
    if isinstance(value, str):
        return value
    return repr(value) if type(value) in (int, float) else ""
