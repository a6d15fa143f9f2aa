"""Titles of items, out of metadata files of any size."""

import ast
import csv
import gzip
import io
import itertools
import json
import re
from collections.abc import Collection, Iterable
from typing import Any

from pipeline.errors import InputError

_ID_NAMES = ("parent_asin", "asin", "item_id", "item")
# An id where a metadata file has it: 2014's files are Python's words for a dict, not JSON.
_ID = re.compile(rf"""["'](?:{"|".join(_ID_NAMES)})["']\s*:\s*["']([^"']+)["']""")


def read(path: str, wanted: Collection[str]) -> dict[str, str]:
    """The titles of the wanted items that a file has.

    Args:
      path: JSON lines as of Amazon's metadata, or CSV or TSV with a header; plain or gzip.
        Ids are under `parent_asin`, `asin`, `item_id` or `item`, titles under `title`.
      wanted: ids.

    Raises:
      InputError: where the file cannot be read, or has no such columns.
    """
    try:
        with open(path, "rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            raw: Any = gzip.GzipFile(fileobj=file) if compressed else file
            text = io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline="")
            first = text.readline()
            lines = itertools.chain([first], text)
            rows = _json(lines, wanted) if first.lstrip()[:1] == "{" else _csv(lines, path)
            return {item: title for item, title in rows if item in wanted and title}
    except (OSError, EOFError, csv.Error) as error:
        raise InputError(f"Titles cannot be read from {path}: {error}.") from None


def _json(lines: Iterable[str], wanted: Collection[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        # Few lines are wanted, and taking one apart costs more than looking for its id.
        if not any(item in wanted for item in _ID.findall(line)):
            continue
        try:
            values = json.loads(line)
        except ValueError:
            try:
                values = ast.literal_eval(line.strip())
            except (ValueError, SyntaxError):
                continue
        for name in _ID_NAMES:
            if name in values:
                yield str(values[name]), str(values.get("title") or "")


def _csv(lines: Iterable[str], path: str) -> Iterable[tuple[str, str]]:
    lines = iter(lines)
    header = next(lines).lstrip("\ufeff")
    delimiter = "\t" if "\t" in header else ","
    names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter), [])]
    found = [name for name in _ID_NAMES if name in names]
    if not found or "title" not in names:
        raise InputError(
            f"{path} must hold JSON objects, or a header with `title` and one of "
            f"{', '.join(_ID_NAMES)}. Received: {header.strip()[:200]!r}."
        )
    item, title = names.index(found[0]), names.index("title")
    for row in csv.reader(lines, delimiter=delimiter):
        if len(row) == len(names):
            yield row[item], row[title]
