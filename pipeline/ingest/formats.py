"""Which column of a ratings file is what, told from its first lines.

Amazon's ratings come in four layouts: 2014 (`user,item,rating,timestamp`) and
2018 (`item,user,rating,timestamp`) without a header, tables with a header, and
reviews as JSON lines.
"""

import csv
import dataclasses
import json
import re
import statistics
from collections.abc import Sequence

from pipeline.errors import InputError

USER, ITEM, RATING, TIME = "user", "item", "rating", "time"
_NAMES = {
    USER: ("user_id", "userid", "user", "reviewerid"),
    ITEM: ("item_id", "itemid", "item", "parent_asin", "asin", "productid"),
    RATING: ("rating", "overall"),
    TIME: ("timestamp", "time", "unixreviewtime"),
}
_ASIN = re.compile(r"B[0-9A-Z]{9}|[0-9]{9}[0-9X]")
_REVIEWER = re.compile(r"A[0-9A-Z]{8,}")
_SURE = 0.95  # share of the ids seen that must look alike
# Seconds reach this in the year 5138, milliseconds reached it in 1973.
_MILLISECONDS = 100_000_000_000
_BOM = b"\xef\xbb\xbf"
_NO_UTF8 = (b"PK\x03\x04", b"\xff\xfe", b"\xfe\xff")  # a zip file, UTF-16


@dataclasses.dataclass(frozen=True)
class Layout:
    """How to read the lines of one file.

    Attributes:
      kind: "2014", "2018", "header" or "jsonl".
      columns: all columns of a line, or the keys of interest of a JSON object.
      roles: which of them is the user, the item, the rating and the time; a
        file with a header may have no rating.
      delimiter: between columns.
      milliseconds: whether times are in milliseconds, not seconds.
    """

    kind: str
    columns: tuple[str, ...]
    roles: dict[str, str]
    delimiter: str = ","
    milliseconds: bool = False


def recognise(path: str, head: bytes, forced: str = "auto") -> Layout:
    """The layout of a file.

    Args:
      path: of the file, for messages.
      head: its first lines, whole.
      forced: the setting `layout`; "auto" tells the layout from the data.

    Raises:
      InputError: if the file has no line, or if its layout cannot be told.
    """
    if head.startswith(_NO_UTF8):
        raise InputError(
            f"`ratings` must be UTF-8 text, plain or gzip. {path!r} is neither: it begins with "
            f"{head[:8]!r}. Unpack it, or convert it with iconv."
        )
    text = head.removeprefix(_BOM).decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"`ratings` names {path!r}, which is empty. Give files with ratings.")
    if forced == "jsonl" or (forced == "auto" and lines[0].lstrip().startswith("{")):
        return _json_lines(path, lines)
    delimiter = "\t" if "\t" in lines[0] else ","
    try:
        rows = list(csv.reader(lines, delimiter=delimiter))
    except csv.Error as error:
        raise InputError(
            f"The first lines of {path!r} cannot be read as columns: {error}. Keep user, item, "
            "rating and time alone."
        ) from None
    roles = _roles([name.strip() for name in rows[0]])
    is_header = {USER, ITEM, TIME} <= roles.keys()
    if forced == "header" or (forced == "auto" and is_header):
        if not is_header:
            raise _unknown_header(path, lines[0])
        names = [name.strip() for name in rows[0]]
        position = names.index(roles[TIME])
        times = [row[position] for row in rows[1:] if len(row) == len(names)]
        return Layout("header", tuple(names), roles, delimiter, _in_milliseconds(times))
    rows = [row for row in rows if len(row) == 4]
    if not rows:
        raise InputError(
            f"{path!r} has neither a header nor four columns in its first lines. "
            f"Received: {lines[0][:200]!r}."
        )
    if len(rows) > 1 and not _is_number(rows[0][3]) and _is_number(rows[1][3]):
        raise _unknown_header(path, lines[0])
    kind = forced if forced in ("2014", "2018") else _kind_of_ids(path, rows)
    columns = (USER, ITEM, RATING, TIME) if kind == "2014" else (ITEM, USER, RATING, TIME)
    milliseconds = _in_milliseconds([row[3] for row in rows])
    return Layout(kind, columns, {name: name for name in columns}, delimiter, milliseconds)


def _json_lines(path: str, lines: Sequence[str]) -> Layout:
    objects = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            objects.append(value)
    for value in objects:
        roles = _roles(list(value))
        if len(roles) == len(_NAMES):
            times = [str(other.get(roles[TIME])) for other in objects]
            return Layout(
                "jsonl", tuple(roles.values()), roles, milliseconds=_in_milliseconds(times)
            )
    raise InputError(
        f"{path!r} has no JSON object with a user, an item, a rating and a time in its first "
        f"lines. Known names: {_known_names()}. Received: {lines[0][:200]!r}."
    )


def _roles(names: Sequence[str]) -> dict[str, str]:
    """Role to column name; of several names of one role, the first in `_NAMES`."""
    lowered = {name.lower(): name for name in reversed(names)}
    roles = {}
    for role, known in _NAMES.items():
        found = [lowered[name] for name in known if name in lowered]
        if found:
            roles[role] = found[0]
    return roles


def _kind_of_ids(path: str, rows: Sequence[Sequence[str]]) -> str:
    first, second = ([row[column].strip() for row in rows] for column in (0, 1))
    found = (_kind_of_column(first), _kind_of_column(second))
    if found in ((USER, ITEM), (USER, None), (None, ITEM)):
        return "2014"
    if found in ((ITEM, USER), (ITEM, None), (None, USER)):
        return "2018"
    raise InputError(
        f"Which column of {path!r} is the user and which the item cannot be told from its ids: "
        f"{first[0]!r}, {second[0]!r}. Set IMN_LAYOUT=2014 for user,item,rating,timestamp or "
        "IMN_LAYOUT=2018 for item,user,rating,timestamp."
    )


def _kind_of_column(ids: Sequence[str]) -> str | None:
    for kind, pattern, letter in ((ITEM, _ASIN, "i"), (USER, _REVIEWER, "u")):
        shaped = sum(bool(pattern.fullmatch(value)) for value in ids)
        named = sum(value[:1].lower() == letter for value in ids)
        if max(shaped, named) >= _SURE * len(ids):
            return kind
    return None


def _in_milliseconds(times: Sequence[str]) -> bool:
    numbers = [int(time) for time in times if _is_number(time)]
    return bool(numbers) and statistics.median(numbers) >= _MILLISECONDS


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"\s*-?[0-9]+\s*", text))


def _unknown_header(path: str, line: str) -> InputError:
    return InputError(
        f"The header of {path!r} names no user, item and time that are known: {_known_names()}. "
        f"Received: {line[:200]!r}."
    )


def _known_names() -> str:
    return "; ".join(f"{role}: {', '.join(names)}" for role, names in _NAMES.items())
