"""Which fields of a catalogue become attributes, and of which kind.

A field may tell what an item *is*, not what became of it: average ratings, ranks and lists of what
else was bought are known only afterwards, and a model that reads them is tested on the future.
"""

import dataclasses
import difflib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.configs import SettingsError
from pipeline.errors import InputError
from pipeline.ingest.sources.layout import ITEM, NAMES
from pipeline.items import values

CATEGORY, NUMBER = "category", "number"
# Words of names whose values come from ratings, sales or use. Words are compared, not parts of
# them, so that an `operating_system` is no rating.
_LATER = "|".join(
    (
        r"ratings?|reviews?|reviewed|reviewers?|(?:up|down)?(?:votes?|voted)|voters?|stars?|overall",
        r"scores?|scored|ranks?|ranked|rankings?|metacritic|recommendations?|trending",
        r"also|related|viewing|viewed|views|viewers|viewcount|clicks?|clicked|impressions",
        r"sales|sold|sellers?rank|bestsellers?|purchases|purchased|orders|buyers|revenues?|gross",
        r"grossing|boxoffice|downloads?|downloaded|installs?|installed|plays|played|playcount",
        r"watched|listeners|subscribers|followers|watchers|owners|owned",
        r"(?:dis)?likes?|liked|fans|wished|wishes|wishlists?|favou?rites|favou?rited|shelves",
    )
)
_BESIDE = (  # what stands beside such a word where nothing separates them, as in `numreviews`
    "n|num|nb|number|of|count|counts|cnt|total|sum|avg|average|mean|median|min|max|percent|pct|imdb"
    "|tmdb|meta|critics?|users?|customers?|items?|products?|movies?|books?|games?|apps?|pages?|text"
    "|daily|weekly|monthly|lifetime|domestic|worldwide|best|top"
)
_LATER_WORD = re.compile(
    rf"(?:{_BESIDE}|{_LATER})*(?:{_LATER})(?:{_BESIDE}|{_LATER})*"
    r"|[a-z]*(?:bought|helpful|similar|popular)[a-z]*"
)
_WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# What the maker or an office says, before anyone rates or buys.
_BEFORE = re.compile(
    r"\bgross weight\b|\boverall (?:length|width|height|depth|size|weight|dimensions)\b"
    r"|\b(?:content|age|maturity|parental|mpaa|esrb|energy) ratings?\b"
)
_IDS = ("parent_asin", *NAMES[ITEM], "id", "sku")
_TITLES = ("title", "product_title", "movie_title", "name", "product_name", "item_name")
_TEXT_NAMES = ("title", "description", "feature", "image", "imurl", "url", "video")
_FEW = 50  # rows, below which nothing is said about how often values repeat
_UNIQUE = 0.9  # distinct values over all values, from which a field is a text or an id


@dataclasses.dataclass(frozen=True)
class Field:
    """An attribute field: its name in the files, and `category` or `number`."""

    name: str
    kind: str


@dataclasses.dataclass(frozen=True)
class Choice:
    """The id column, the fields that are used, and why others are not."""

    item: str
    fields: tuple[Field, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    asked: bool = False  # whether the user named the fields
    title: str = ""  # the column of the titles, for people; no model reads it

    def describe(self) -> list[str]:
        """Lines for the screen."""
        used = ", ".join(f"{field.name} ({field.kind})" for field in self.fields)
        lines = [f"  fields: {used}; ids are in `{self.item}`"]
        if not self.asked:
            lines += [f"  left out: {name} ({reason})" for name, reason in self.left_out[:12]]
        lines += [
            f"  look: {field.name} may only be known after the ratings: tests would read the future"
            for field in self.fields
            if known_later(field.name)
        ]
        return lines


def known_later(name: str) -> bool:
    """Whether a field's name says that ratings, sales or use made its values."""
    words = _BEFORE.sub("", " ".join(_WORD.findall(name)).lower()).split()
    pairs = map("".join, itertools.pairwise(words))  # `play_count`, `boxOffice`
    return any(map(_LATER_WORD.fullmatch, (*words, *pairs)))


def choose(path: str, rows: Sequence[Mapping[str, Any]], wanted: str) -> Choice:
    """Chooses fields by the first rows of a catalogue.

    Args:
      path: of the file, for messages.
      rows: its first rows.
      wanted: `IMN_ITEM_FIELDS`: "name,name:number"; "" chooses by a rule: known later, free
        text, nested objects and what is different for every item are left out.

    Raises:
      InputError: if there is no id, or no field.
      SettingsError: if a wanted field does not exist.
    """
    names = list(dict.fromkeys(name for row in rows for name in row if isinstance(name, str)))
    item = item_column(path, names)
    others = [name for name in names if name != item]
    if wanted.strip():
        fields = tuple(_wanted(part, others, rows) for part in wanted.split(",") if part.strip())
        if len({field.name for field in fields}) != len(fields):
            raise SettingsError(f"`item_fields` must name each field once. Received: {wanted!r}.")
        return Choice(item, fields, asked=True, title=title_column(names))
    used, left_out = [], []
    for name in others:
        reason, kind = _judge(name, [row.get(name) for row in rows])
        if reason:
            left_out.append((name, reason))
        else:
            used.append(Field(name, kind))
    if not used:
        found = "; ".join(f"{name}: {reason}" for name, reason in left_out) or "no other column"
        raise InputError(
            f"`items` must have a field that can be an attribute. {path!r} has none: {found}. Name "
            'the fields to use, for example IMN_ITEM_FIELDS="category,price:number".'
        )
    return Choice(item, tuple(used), tuple(left_out), title=title_column(names))


def item_column(path: str, names: Sequence[str]) -> str:
    """The column with the ids of the items.

    Raises:
      InputError: if there is none of a known name.
    """
    by_low = {_plain(name): name for name in reversed(names)}
    for known in _IDS:
        if known in by_low:
            return by_low[known]
    raise InputError(
        f"`items` must have a column of item ids, named {', '.join(NAMES[ITEM])}, id or sku. "
        f"Received: {', '.join(names[:20]) or 'no columns'} in {path!r}. Rename the column."
    )


def is_one_value(name: str) -> bool:
    """Whether a column holds an id or a title, in which no mark separates values."""
    return _plain(name) in (*_IDS, *_TITLES)


def title_column(names: Sequence[str]) -> str:
    """The column with the titles of the items; "" without one."""
    by_low = {_plain(name): name for name in reversed(names)}
    return next((by_low[known] for known in _TITLES if known in by_low), "")


def _plain(name: str) -> str:
    return name.split(":")[0].strip().lower()


def _wanted(part: str, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Field:
    name, _, kind = part.strip().partition(":")
    if kind not in ("", CATEGORY, NUMBER):
        raise SettingsError(
            f"`item_fields` must be names, each with :{CATEGORY} or :{NUMBER} behind it if the "
            f"kind is to be set. Received: {part.strip()!r}."
        )
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SettingsError(
            f"`item_fields` must name fields of the items: {', '.join(names[:30])}. "
            f"Received: {name!r}.{hint}"
        )
    return Field(name, kind or _kind([row.get(name) for row in rows]))


def _kind(column: Sequence[Any]) -> str:
    read = [values.number(value) for value in column]
    numbers = sum(value is not None for value, _ in read)
    others = sum(bool(reason) for _, reason in read)
    return NUMBER if numbers and others <= 0.05 * (numbers + others) else CATEGORY


def _judge(name: str, column: Sequence[Any]) -> tuple[str, str]:
    """Why a field is left out, or "", and its kind."""
    if known_later(name):
        return "may only be known after the ratings", ""
    if any(part in name.lower() for part in _TEXT_NAMES):
        return "free text or links", ""
    filled = [value for value in column if values.categories(value)[0] or isinstance(value, dict)]
    if not filled:
        return "empty in the first rows", ""
    objects = sum(isinstance(value, dict) for value in filled)
    if objects > len(filled) / 2:
        return "nested objects", ""
    kind = _kind(column)
    texts = [one for value in filled for one in values.categories(value)[0]]
    if kind == CATEGORY and len(filled) >= _FEW and len(set(texts)) > _UNIQUE * len(texts):
        return "different for nearly every item", ""
    if sum(map(len, texts)) > 60 * len(texts):
        return "free text", ""
    return "", kind
