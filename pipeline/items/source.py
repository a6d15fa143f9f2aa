"""Reads the rows of catalogue files: JSON lines, Python literals of 2014, CSV, TSV and Parquet."""

import ast
import csv
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from pipeline.errors import InputError
from pipeline.ingest.sources import compression, filesystem, parquet
from pipeline.ingest.sources.layout import Layout
from pipeline.ingest.sources.records import BLOCK_BYTES, NOT_UTF8, Lines, Range, text_blocks

Row = tuple[int, dict[str, Any] | str]  # place, and the fields or the reason why there are none
HEAD_ROWS = 1_000
_JSON, _TABLE = "jsonl", "delimited"
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
        splits = layout.format == "jsonl" and not kind
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
    return _table(part) if part.layout.header else _json_lines(part, block_bytes)


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


def _table(part: Range) -> Iterator[Row]:
    """Rows of a table. `|` separates several values; RecBole's `:token_seq` has blanks."""
    layout = part.layout
    names = [name.split(":")[0] for name in layout.columns]
    blanks = {i for i, name in enumerate(layout.columns) if name.endswith(":token_seq")}
    with compression.open_text(part.path, part.compression) as file:
        buffered = io.BufferedReader(_Readable(file), 1 << 20)
        text = io.TextIOWrapper(buffered, "utf-8", "surrogateescape", newline="")
        reader = csv.reader(text, delimiter=layout.separator)
        try:
            for cells in reader:
                if reader.line_num <= 1 or not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(names):
                    yield reader.line_num, "wrong number of fields"
                elif any("\udc80" <= c <= "\udcff" for cell in cells for c in cell):
                    yield reader.line_num, NOT_UTF8
                else:
                    yield (
                        reader.line_num,
                        {
                            name: cell.split() if i in blanks else _several(cell)
                            for i, (name, cell) in enumerate(zip(names, cells, strict=True))
                        },
                    )
        except csv.Error as error:
            raise InputError(
                f"{part.path!r} cannot be read as a table near line {reader.line_num:,}: {error}."
            ) from None


def _several(cell: str) -> Any:
    return cell.split("|") if "|" in cell else cell


class _Readable(io.RawIOBase):
    """Lets `BufferedReader` read any object that has `read`."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer; 0 at the end."""
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _parquet(path: str) -> Iterator[Row]:
    with compression.open_text(path, "") as file:
        place = 0
        for batch in parquet.open_file(path, file).iter_batches(10_000):
            for row in batch.to_pylist():
                yield place, row
                place += 1
