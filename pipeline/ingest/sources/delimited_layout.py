"""The layout of delimited text, by its first lines."""

import csv
import re
from collections.abc import Sequence

from pipeline.errors import InputError
from pipeline.ingest.sources import event_columns, times
from pipeline.ingest.sources.layout import (
    ITEM,
    NEEDED,
    RATING,
    TIME,
    USER,
    Layout,
    example,
    known_names,
    roles_of,
)

_SEPARATORS = ("::", "\t", ";", "|", ",")
_WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_ORDER = {"2014": (USER, ITEM, RATING, TIME), "2018": (ITEM, USER, RATING, TIME)}
_CERTAIN = 0.95  # share of the ids that must have the shape
_RECBOLE = re.compile(r"[^:]+:(token|float|token_seq|float_seq)")
_USER_WORDS = "u|user|usr|userid|customer|reviewer|member"
_ITEM_WORDS = "i|item|itemid|p|prod|product|movie|book|sku|asin"


class UndecidedError(InputError):
    """Ids do not tell which column is the user and which is the item."""


def recognise(
    path: str, lines: Sequence[str], forced: str = "auto", columns: str = "", separator: str = ""
) -> Layout:
    """The layout of a delimited file.

    Args:
      path: of the file, for messages.
      lines: its first lines, none of them blank.
      forced: the setting `layout`: auto, 2014, 2018 or header.
      columns: the setting `columns`.
      separator: the setting `separator`.

    Raises:
      UndecidedError: if a table without a header could be of either order.
      InputError: if no known layout fits.
    """
    between = _WORDS.get(separator.lower(), separator) or _separator(path, lines, columns)
    rows = split(lines, between)
    names = _typeless(rows[0]) if rows else []
    if columns and all(part.partition("=")[2].strip().isdigit() for part in columns.split(",")):
        return _by_number(path, rows, columns, between, forced)
    roles = roles_of(path, names, columns) if forced in ("auto", "header") or columns else {}
    if roles.keys() >= NEEDED:
        return _with_header(names, roles, rows, between)
    if forced == "header":
        raise _unknown_header(path, lines[0], len(names))
    rows = [row for row in rows if len(row) == 4]
    headed = len(rows) > 1 and not times.is_time(rows[0][3]) and times.is_time(rows[1][3])
    if not rows or headed or not any(times.is_time(row[3]) for row in rows):
        raise _unknown_header(path, lines[0], len(names))
    if forced == "auto":
        # Only MovieLens separates by "::".
        kind = "2014" if between == "::" else _order_of_ids(path, rows)
    else:
        kind = forced
    roles = {role: role for role in _ORDER[kind]}
    return _layout(kind, _ORDER[kind], roles, rows, between, header=False)


def with_event_fields(path: str, found: Layout, lines: Sequence[str], setting: str) -> Layout:
    """The layout with the columns of event fields among its roles.

    Args:
      path: of the file, for messages.
      found: the layout without them.
      lines: the first lines of the file.
      setting: `event_fields`.

    Raises:
      SettingsError: if there is no such column.
    """
    events = event_columns.roles_of(path, found.columns, found.roles, setting)
    if not events:
        return found
    rows = split(lines, found.separator)[found.header :]
    roles = {**found.roles, **events}
    return _layout(found.kind, found.columns, roles, rows, found.separator, found.header)


def split(lines: Sequence[str], separator: str) -> list[list[str]]:
    """The trimmed fields of each line; lines with an open quote are left out."""
    rows = []
    for line in lines:
        text, delimiter = line, separator
        if len(separator) > 1:
            text, delimiter = line.replace(separator, "\x1f"), "\x1f"
        try:
            (fields,) = csv.reader([text], delimiter=delimiter, strict=True, skipinitialspace=True)
        except (csv.Error, ValueError):
            continue
        rows.append([field.strip("\ufeff \t\r\n\xa0") for field in fields])
    return rows


def _layout(
    kind: str,
    columns: Sequence[str],
    roles: dict[str, str],
    rows: Sequence[Sequence[str]],
    separator: str,
    header: bool,
) -> Layout:
    positions = {role: list(columns).index(name) for role, name in roles.items()}
    rows = [row for row in rows if len(row) == len(columns)]
    unit = times.unit(row[positions[TIME]] for row in rows)
    rows = [row for row in rows if times.is_time(row[positions[TIME]])] or [[""] * len(columns)]
    sample = {role: rows[0][position] for role, position in positions.items()}
    return Layout(kind, tuple(columns), roles, separator, header, unit or "s", sample)


def _with_header(
    names: Sequence[str], roles: dict[str, str], rows: Sequence[Sequence[str]], separator: str
) -> Layout:
    return _layout("header", names, roles, rows[1:], separator, header=True)


def _by_number(
    path: str, rows: Sequence[Sequence[str]], columns: str, separator: str, forced: str
) -> Layout:
    count = len(rows[0]) if rows else 0
    names = [str(number) for number in range(1, count + 1)]
    roles = roles_of(path, names, columns)
    position = names.index(roles[TIME])
    header = forced == "header" or not times.is_time(rows[0][position])
    return _layout("columns", names, roles, rows[header:], separator, header)


def _separator(path: str, lines: Sequence[str], columns: str) -> str:
    """The separator that gives a known header, or else the same number of columns in all lines."""
    best, most = ",", 2
    for separator in _SEPARATORS:
        rows = split(lines, separator)
        if not rows or len(rows[0]) < 3:
            continue
        try:
            if roles_of(path, _typeless(rows[0]), columns).keys() >= NEEDED:
                return separator
        except InputError:
            if not columns:  # a known name twice: this is the header, and it is refused later
                return separator
        same = sum(len(row) == len(rows[0]) for row in rows)
        if len(rows[0]) > most and same >= _CERTAIN * len(lines):
            best, most = separator, len(rows[0])
    return best


def _typeless(names: Sequence[str]) -> list[str]:
    """Names without RecBole's types, such as `user_id:token`."""
    if all(_RECBOLE.fullmatch(name) for name in names):
        return [name.partition(":")[0] for name in names]
    return list(names)


def _order_of_ids(path: str, rows: Sequence[Sequence[str]]) -> str:
    """The order "2014" or "2018", if both columns agree on it and on no other."""
    rows = [row for row in rows if times.is_time(row[3])]
    first, second = ([row[column] for row in rows] for column in (0, 1))
    orders = {"2014": (first, second), "2018": (second, first)}
    found = [kind for kind, (users, items) in orders.items() if _is_order(users, items)]
    if len(found) != 1:
        raise UndecidedError(
            f"The ids of {path!r} do not tell which column is the user and which is the item. "
            f"Received: {first[0]!r} and {second[0]!r}. Set IMN_LAYOUT=2014 if the columns are "
            "user,item,rating,time or IMN_LAYOUT=2018 if they are item,user,rating,time; or name "
            f"columns by number: {example(4)}."
        )
    return found[0]


def _is_order(users: Sequence[str], items: Sequence[str]) -> bool:
    """Whether the ids of both columns have shapes that belong to users and to items."""
    is_product = [bool(re.fullmatch(r"B0[0-9A-Z]{8}", id_)) or _is_isbn(id_) for id_ in items]
    if sum(is_product) >= _CERTAIN * len(items):
        return _share(users, r"A[0-9A-Z]{8,27}|(?i:u[0-9a-z]*[0-9][0-9a-z]*)")
    words = rf"(?i:{_ITEM_WORDS})[-_:]?\d+"
    return _share(items, words) and _share(users, rf"(?i:{_USER_WORDS})[-_:]?\d+")


def _share(ids: Sequence[str], pattern: str) -> bool:
    return sum(bool(re.fullmatch(pattern, id_)) for id_ in ids) >= _CERTAIN * len(ids)


def _is_isbn(text: str) -> bool:
    """Whether a text is an ISBN-10: its check digit tells it from other numbers."""
    if not re.fullmatch(r"[0-9]{9}[0-9X]", text):
        return False
    digits = [10 if digit == "X" else int(digit) for digit in text]
    return (
        sum(weight * digit for weight, digit in zip(range(10, 0, -1), digits, strict=True)) % 11
        == 0
    )


def _unknown_header(path: str, line: str, count: int) -> InputError:
    return InputError(
        f"{path!r} must have a header with a known name for user, item and time, or the four "
        f"columns user,item,rating,time without one. Received: {line[:200]!r}. Known names: "
        f"{known_names()}. Set IMN_COLUMNS by name, as in "
        f'IMN_COLUMNS="user=uid,item=sku,time=at", or by number, as in {example(count)}; and '
        "IMN_SEPARATOR if columns are not separated by a comma, tab, semicolon, | or ::."
    )
