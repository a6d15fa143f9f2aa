"""Raw values of a catalogue as attribute values: texts of a category, or one number.

Catalogues hold prices as "$12.99", names with HTML, and lists where others have a text. One
function for each kind of field turns any of these into values, so that a field may mix them.
"""

import html
import math
import re
from collections.abc import Iterator
from typing import Any

from pipeline.ingest.sources.interpret import BLANKS

LONGEST = 200  # characters of a category; a longer text is a description
_TAG = re.compile(r"<[^<>]*>")
_SCRIPT = re.compile(r"<(script|style)\b.*?(</\1>|$)", re.IGNORECASE | re.DOTALL)
_NULLS = frozenset(("", "\\n", "null", "none", "nan", "<na>", "n/a", "[]", "{}"))
_AMOUNT = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[-+]?[0-9]*\.?[0-9]+")
# What may stand beside the amount of a price: a currency, "from", a second amount of a range.
_CURRENCY = r"(?:USD|EUR|GBP|JPY|CNY|INR|CAD|AUD|US\$|[$€£¥₹])?"
_BESIDE = re.compile(rf"(?:from)?\s*{_CURRENCY}\s*(?:-|to)?\s*{_CURRENCY}", re.IGNORECASE)


def text(value: Any) -> str:
    """A value as one line without HTML; "" for what stands for no value."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # pandas turns whole numbers to floats where one is missing
    result = str(value)
    if "<" in result:
        result = _TAG.sub(" ", _SCRIPT.sub(" ", result))
    if "&" in result:
        result = html.unescape(result)
    result = " ".join(result.replace("\0", " ").split())
    return "" if result.lower() in _NULLS else result


def item_id(value: Any) -> str:
    """The id of an item as ratings have it: trimmed and otherwise unchanged; "" for none."""
    if isinstance(value, list | dict | bool) or value is None:
        return ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    result = str(value).strip(BLANKS)
    return "" if result.lower() in _NULLS else result


def title(value: Any) -> str:
    """The title of an item as one line, cut after 200 characters; "" for none."""
    first = next(_leaves(value), "")
    return "" if isinstance(first, dict) else text(first)[:LONGEST]


def categories(value: Any) -> tuple[list[str], str]:
    """The texts of a category field, each once, in order; nested lists are flattened.

    Returns:
      the texts, and the reason why one was left out, or "".
    """
    found: dict[str, None] = {}
    reason = ""
    for leaf in _leaves(value):
        if isinstance(leaf, dict):
            reason = "an object, not a text"
            continue
        one = text(leaf)
        if len(one) > LONGEST:
            reason = f"a text of more than {LONGEST} characters"
        elif one:
            found[one] = None
    return list(found), reason


def number(value: Any) -> tuple[float | None, str]:
    """The number of a field; of a range such as "$12.99 - $15.00" the first.

    Returns:
      the number or None, and the reason if a value was there but is no number, or "".
    """
    leaves = list(_leaves(value))
    if len(leaves) > 1 or (leaves and isinstance(leaves[0], dict)):
        return None, "a list or an object, not a number"
    if not leaves:
        return None, ""
    leaf = leaves[0]
    if type(leaf) in (int, float, bool):
        return (float(leaf), "") if math.isfinite(leaf) else (None, "")
    one = text(leaf)
    if not one:
        return None, ""
    amounts = _AMOUNT.findall(one)
    if amounts and len(amounts) <= 2:
        rest = _AMOUNT.sub("", one)
        if _BESIDE.fullmatch(rest.strip()):
            return float(amounts[0].replace(",", "")), ""
    return None, "not a number"


def _leaves(value: Any) -> Iterator[Any]:
    if value is None:
        return
    if isinstance(value, list | tuple | set):
        for part in value:
            yield from _leaves(part)
    else:
        yield value
