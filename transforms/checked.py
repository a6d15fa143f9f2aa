"""Checked dataclasses for settings and model options: types, ranges and values from text.

The settings of a run and the options of a model obey the same rules, because both use this module.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable
from typing import Any

_WORDS = {"true": True, "1": True, "yes": True, "on": True} | {
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def number(default: Any, low: float, high: float = float("inf")) -> Any:
    """A dataclass field for a number from `low` to `high`."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


def choice(default: str, *others: str) -> Any:
    """A dataclass field for one of several words."""
    return dataclasses.field(default=default, metadata={"allowed": (default, *others)})


@dataclasses.dataclass(frozen=True)
class Checked:
    """A frozen dataclass whose constructor checks type and range of each value.

    Fields are of type bool, int, float, str, a tuple of positive ints, or one of these or None.

    Raises:
      ValueError: for a value that is not allowed, with the field, the rule and the value.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, check(field, getattr(self, field.name)))

    def to_dict(self) -> dict[str, Any]:
        """The values by name, for JSON."""
        return dataclasses.asdict(self)


def names(kind: type[Checked]) -> tuple[str, ...]:
    """The names of the fields of a checked dataclass."""
    return tuple(field.name for field in dataclasses.fields(kind))


def closest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like a mistyped one, or "" if none is."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")


def parse(field: dataclasses.Field, text: str) -> Any:
    """The value of a field from text. Text of blanks is None for an optional field.

    Raises:
      ValueError: if the text is not of the field's type.
    """
    kind, optional = _type(field)
    text = text.strip()
    if optional and not text:
        return None
    if kind is bool:
        if text.lower() not in _WORDS:
            raise ValueError(f"`{field.name}` must be true or false. Received: {text!r}.")
        return _WORDS[text.lower()]
    try:
        if typing.get_origin(kind) is tuple:
            return tuple(int(part) for part in text.split("x")) if text else ()
        return kind(text)
    except ValueError:
        rule = {int: "a whole number", float: "a number"}.get(
            kind, "whole numbers joined by x, such as 128x64"
        )
        raise ValueError(f"`{field.name}` must be {rule}. Received: {text!r}.") from None


def check(field: dataclasses.Field, value: Any) -> Any:
    """The value in the field's type: an int becomes a float, a list becomes a tuple.

    Raises:
      ValueError: if the value has another type or lies outside the field's range.
    """
    kind, optional = _type(field)
    if value is None and optional:
        return None
    if typing.get_origin(kind) is tuple:
        values = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not all(type(each) is int and each >= 1 for each in values):
            raise ValueError(
                f"`{field.name}` must be whole numbers of at least 1. Received: {value!r}."
            )
        return values
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ValueError(f"`{field.name}` must be of type {kind.__name__}. Received: {value!r}.")
    allowed = field.metadata.get("allowed")
    if allowed and value not in allowed:
        raise ValueError(
            f"`{field.name}` must be one of {', '.join(allowed)}. Received: {value!r}."
        )
    if "low" in field.metadata:
        low, high = field.metadata["low"], field.metadata["high"]
        if not low <= value <= high:
            rule = f"at least {low}" if high == float("inf") else f"between {low} and {high}"
            raise ValueError(f"`{field.name}` must be {rule}. Received: {value!r}.")
    return value


def _type(field: dataclasses.Field) -> tuple[Any, bool]:
    """The type of a field without None, and whether it may be None."""
    if isinstance(field.type, types.UnionType):
        (kind,) = (member for member in typing.get_args(field.type) if member is not type(None))
        return kind, True
    return field.type, False
