"""Reads the rows of catalogue files: JSON lines, Python literals of 2014, CSV, TSV and Parquet."""

import ast
import csv
import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.ingest.sources import compression, delimited, filesystem, parquet
from pipeline.ingest.sources.layout import Layout
from pipeline.ingest.sources.records import BLOCK_BYTES, NOT_UTF8, Lines, Range, text_blocks
from pipeline.items import fields

Row = tuple[int, dict[str, Any] | str]  # place, and the fields or the reason why there are none
HEAD_ROWS = 1_000
_JSON = "jsonl"
_TABLE_BYTES = 4 << 20  # of a table that are parsed at once
_MARK = "\ufeff"
_RATIO = 4  # text a compressed byte, about


def plan(items: str, range_bytes: int = BLOCK_BYTES) -> tuple[list[Range], int]:
    """Cuts the files of `items` into ranges.

    Returns:
      the ranges, and about how many bytes of text there are.

    Raises:
      InputError: if there is no file, or one is no catalogue.
    """
    ranges: list[Range] = []
    text = 0
    for path in filesystem.list_files(items, "items").paths:
        kind, layout = recognise(path)
        size = filesystem.size(path)
        text += size * (_RATIO if kind else 1)
        splits = not kind and layout.format != "parquet" and not _may_span_lines(layout)
        count = max(1, math.ceil(size / range_bytes)) if splits else 1
        for i in range(count):
            edges = (i * size // count, (i + 1) * size // count)
            ranges.append(Range(path, len(ranges), *edges, kind, layout))
    return ranges, text


def recognise(path: str) -> tuple[str, Layout]:
    """Compression and layout of a file, by its first bytes.

    Raises:
      InputError: if it is neither Parquet nor lines of text, or is empty.
    """
    kind = compression.kind(path)
    if kind == compression.PARQUET:
        return kind, Layout("parquet", (), {})
    head = compression.head(path, kind, "items").decode("utf-8", "replace").lstrip(_MARK)
    first = next((line for line in head.split("\n") if line.strip()), "")
    if not first:
        raise InputError(f"`items` names {path!r}, which is empty. Give a catalogue of items.")
    if first.lstrip().startswith("{"):
        return kind, Layout(_JSON, (), {})
    separator = max("\t,;|", key=first.count)
    columns = tuple(_cells(first, separator))
    if len(columns) < 2:
        raise InputError(
            f"`items` must be JSON lines, Parquet, or a table with a header. {path!r} begins with "
            f"{first[:200]!r}."
        )
    return kind, Layout("header", columns, {}, separator=separator, header=True)


def read(part: Range, block_bytes: int = BLOCK_BYTES) -> Iterator[Row]:
    """The rows of a range.

    Raises:
      InputError: if the file is damaged.
    """
    if part.layout.format == "parquet":
        return _parquet(part.path)
    return _table(part, block_bytes) if part.layout.header else _json_lines(part, block_bytes)


def head(paths: Sequence[str], count: int = HEAD_ROWS) -> list[dict[str, Any]]:
    """The first rows of the files, `count` together at most."""
    rows: list[dict[str, Any]] = []
    for path in paths:
        kind, layout = recognise(path)
        part = Range(path, 0, 0, min(filesystem.size(path), 1 << 24), kind, layout)
        share = -(-count // len(paths))
        good = (row for _, row in read(part, 1 << 20) if isinstance(row, dict))
        rows += itertools.islice(good, share)
    return rows


def _json_lines(part: Range, block_bytes: int) -> Iterator[Row]:
    for block in text_blocks(part, block_bytes):
        lines = Lines(block, bool(part.compression))
        for index in range(len(lines)):
            yield int(lines.places[index]), _object(lines.bytes_of(index))


def _object(line: bytes) -> dict[str, Any] | str:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            return NOT_UTF8
        if not text.lstrip(_MARK).startswith(("{'", '{"', "{u'")):
            return "neither JSON nor a Python literal"
        try:
            value = ast.literal_eval(text.lstrip(_MARK).strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return "neither JSON nor a Python literal"
    return value if isinstance(value, dict) else "not an object"


def _cells(line: str, separator: str) -> list[str]:
    (cells,) = csv.reader([line.rstrip("\r\n")], delimiter=separator)
    return [cell.strip() for cell in cells]


def _may_span_lines(layout: Layout) -> bool:
    """Whether a quoted field may span lines: not in tab-separated text, whose quotes are often
    characters of a title, nor in RecBole's files."""
    typed = all(":" in name for name in layout.columns)
    return layout.format == "delimited" and layout.separator != "\t" and not typed


def _table(part: Range, block_bytes: int) -> Iterator[Row]:
    """Rows of a table. One without any value is left out."""
    names = part.layout.columns
    numbers = tuple(map(str, range(len(names))))  # names may repeat
    layout = Layout(
        "header", numbers, {number: number for number in numbers}, part.layout.separator, True
    )
    part = dataclasses.replace(part, layout=layout, multiline=_may_span_lines(part.layout))
    for records in delimited.read(part, min(block_bytes, _TABLE_BYTES)):
        for place, reason, _ in records.bad:
            yield place, reason
        order = np.argsort(records.places)
        for start in range(0, len(order), HEAD_ROWS):
            rows = order[start : start + HEAD_ROWS]
            places = records.places[rows].tolist()
            columns = [records.columns[n].take(pa.array(rows)).to_pylist() for n in numbers]
            for place, cells in zip(places, zip(*columns, strict=True), strict=True):
                if any(map(str.strip, cells)):
                    yield (
                        place,
                        {
                            name.split(":")[0]: _value(name, cell)
                            for name, cell in zip(names, cells, strict=True)
                        },
                    )


def _value(name: str, cell: str) -> Any:
    """A cell. `|` separates several values; RecBole's `:token_seq` has blanks between them."""
    if fields.is_one_value(name):
        return cell
    if name.endswith(":token_seq"):
        return cell.split()
    return cell.split("|") if "|" in cell else cell


def _parquet(path: str) -> Iterator[Row]:
    with compression.open_text(path, "") as file:
        place = 0
        for batch in parquet.batches(path, parquet.open_file(path, file), 10_000):
            try:
                rows = batch.to_pylist()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"Texts of {path!r} must be UTF-8. Received: {error}, among the rows from "
                    f"{place:,} on. Convert the column, or leave it out."
                ) from None
            for row in rows:
                yield place, row
                place += 1
