"""Reads the titles of items from metadata files of any size."""

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
# An id in a line. The files of 2014 hold Python dicts instead of JSON.
_ID = re.compile(rf"""["'](?:{"|".join(_ID_NAMES)})["']\s*:\s*["']([^"']+)["']""")


def read(path: str, wanted: Collection[str]) -> dict[str, str]:
    """The titles of the wanted items, by id. Items without a title in the file are left out.

    Args:
      path: JSON lines in the format of Amazon's metadata, or CSV or TSV with a header; plain or
        gzip. The id is in `parent_asin`, `asin`, `item_id` or `item`, the title in `title`.
      wanted: ids.

    Raises:
      InputError: if the file cannot be read or lacks these columns.
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
        raise InputError(
            f"`--titles` must be a readable file. Received: {path} ({error})."
        ) from None


def _json(lines: Iterable[str], wanted: Collection[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        # Few lines are wanted, and a search for the id is cheaper than parsing.
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
    id_names = [name for name in _ID_NAMES if name in names]
    if not id_names or "title" not in names:
        raise InputError(
            f"{path} must hold JSON objects, or a header with `title` and one of "
            f"{', '.join(_ID_NAMES)}. Received: {header.strip()[:200]!r}."
        )
    item, title = names.index(id_names[0]), names.index("title")
    for row in csv.reader(lines, delimiter=delimiter):
        if len(row) == len(names):
            yield row[item], row[title]
