"""Which column of a ratings file is the user, the item, the rating and the time."""

import dataclasses
from collections.abc import Mapping, Sequence

from pipeline.errors import InputError
from pipeline.ingest.sources import times

USER, ITEM, RATING, TIME = "user", "item", "rating", "time"
ROLES = (USER, ITEM, RATING, TIME)
NEEDED = frozenset((USER, ITEM, TIME))
NAMES = {
    USER: ("user_id", "userid", "user", "uid", "reviewerid", "reviewer_id", "customer_id"),
    ITEM: (
        *("item_id", "itemid", "item", "iid", "parent_asin", "asin"),
        *("product_id", "productid", "movie_id", "movieid"),
    ),
    RATING: ("rating", "overall", "score", "stars"),
    TIME: ("timestamp", "time", "unixreviewtime", "unix_time", "datetime"),
}
# Amazon's reviews of 2023 have both: `asin` is a variant, `parent_asin` the product.
_PREFERRED = {frozenset(("parent_asin", "asin")): "parent_asin"}
JSONL, PARQUET = "jsonl", "parquet"


class EmptyFileError(InputError):
    """A file holds no line but blank ones, or no row of Parquet."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """How to read the rows of one file.

    Attributes:
      kind: "2014" (`user,item,rating,time`), "2018" (`item,user,rating,time`),
        "columns" (by number), "header", "jsonl" or "parquet".
      columns: names of all columns; of a JSON object or a Parquet file, those of the roles.
      roles: the column of user, item and time, and of the rating if there is one; and of each
        event field, whose role has the name of its feature.
      separator: between columns of text.
      header: whether the first line holds names.
      unit: of times: "s", "ms", "us", "ns" or "iso".
      sample: one row as read: the value of each role.
    """

    kind: str
    columns: tuple[str, ...]
    roles: Mapping[str, str]
    separator: str = ","
    header: bool = False
    unit: str = "s"
    sample: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def format(self) -> str:
        """The format of the file: "jsonl", "parquet" or "delimited"."""
        return self.kind if self.kind in (JSONL, PARQUET) else "delimited"

    def position(self, role: str) -> int:
        """Index of the column of a role."""
        return self.columns.index(self.roles[role])

    def describe(self) -> str:
        """The layout and a row that was read with it, in one line."""
        names = {",": "comma", "\t": "tab", ";": "semicolon"}
        separator = names.get(self.separator, repr(self.separator))
        how = "" if self.format != "delimited" else f", separator {separator}"
        if self.header:
            roles = {role: repr(name) for role, name in self.roles.items()}
        elif self.format == "delimited":
            roles = {role: f"column {self.position(role) + 1}" for role in self.roles}
        else:
            roles = {role: repr(name) for role, name in self.roles.items()}
        parts = [f"{role} {roles[role]} = {self.sample.get(role, '')!r}" for role in self.roles]
        parsed = times.text(times.parse(self.sample.get(TIME, ""), self.unit))
        return f"layout {self.kind}{how}: {', '.join(parts)} ({self.unit}: {parsed})"


def roles_of(path: str, names: Sequence[str], columns: str) -> dict[str, str]:
    """The column of each role, by the setting `columns` or by known names.

    Args:
      path: of the file, for messages.
      names: of the columns, as they are in the file.
      columns: the setting; "" looks for `NAMES` without regard to case.

    Returns:
      at most the four roles; without NEEDED if their names are unknown.

    Raises:
      InputError: if the setting names a column that does not exist, or if two
        columns could be the same role.
    """
    if columns:
        return _named(path, names, parse_columns(columns))
    lowered: dict[str, list[str]] = {}
    for name in names:
        lowered.setdefault(_plain(name), []).append(name)
    roles = {}
    for role, known in NAMES.items():
        found = [name for name in known if name in lowered]
        several = [name for name in found if len(lowered[name]) > 1]
        if several:
            raise InputError(
                f"Column names must be unique. {path!r} has {lowered[several[0]][0]!r} "
                f"{len(lowered[several[0]])} times. Rename one, or give columns by number: "
                f"{example(len(names))}."
            )
        if len(found) > 1:
            preferred = _PREFERRED.get(frozenset(found))
            if preferred is None:
                raise InputError(
                    f"One column must hold the {role}. {path!r} has several that could: "
                    f"{', '.join(found)}. Set IMN_COLUMNS, for example "
                    f'IMN_COLUMNS="user=…,item=…,time=…,rating=…" with the names of the file.'
                )
            found = [preferred]
        if found:
            roles[role] = lowered[found[0]][0]
    return roles


def parse_columns(columns: str) -> dict[str, str]:
    """The setting `columns` as a dictionary: role to name or number.

    Raises:
      InputError: for an unknown role, or if user, item or time is missing.
    """
    result: dict[str, str] = {}
    for entry in columns.split(","):
        role, separator, name = (part.strip() for part in entry.partition("="))
        if not separator or role not in ROLES or role in result or not name:
            raise InputError(
                "`columns` must be like user=uid,item=sku,time=at,rating=stars, each role once; "
                f"rating may be left out. Received: {columns!r}, at {entry.strip()!r}."
            )
        result[role] = name
    missing = sorted(NEEDED - result.keys())
    if missing:
        raise InputError(
            f"`columns` must name user, item and time. Received: {columns!r}, without "
            f"{' and '.join(missing)}."
        )
    if len(set(result.values())) < len(result):
        raise InputError(f"`columns` must name different columns. Received: {columns!r}.")
    return result


def example(count: int) -> str:
    """A setting `columns` by number, for messages about a table of `count` columns."""
    rating = ",rating=3" if count > 3 else ""
    return f"IMN_COLUMNS=user=1,item=2,time={4 if count > 3 else 3}{rating}"


def known_names() -> str:
    """The known names of each role, for messages."""
    return "; ".join(f"{role}: {', '.join(names)}" for role, names in NAMES.items())


def _named(path: str, names: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
    roles = {}
    for role, wanted in chosen.items():
        matches = [name for name in names if name == wanted]
        matches = matches or [name for name in names if _plain(name) == _plain(wanted)]
        if len(matches) != 1:
            problem = "does not exist" if not matches else f"exists {len(matches)} times"
            raise InputError(
                f"`columns` must name columns of the file. Column {wanted!r} of the {role} "
                f"{problem} in {path!r}, which has: {', '.join(map(repr, names))}."
            )
        roles[role] = matches[0]
    return roles


def _plain(name: str) -> str:
    return name.strip().strip("\ufeff").strip().lower()
