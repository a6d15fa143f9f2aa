"""Times of ratings as microseconds since 1970.

Numbers may be seconds, milliseconds, microseconds or nanoseconds, with or
without a fraction; texts are ISO 8601 dates or times, in UTC unless they name
another offset.
"""

import datetime
import decimal
import re
import statistics
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

SECOND = 1_000_000  # microseconds
ISO = "iso"
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# Seconds reach 1e11 in the year 5138; milliseconds passed it in 1973.
_BELOW = (("s", 10**11), ("ms", 10**14), ("us", 10**17))
_NUMBER = re.compile(r"-?[0-9]{1,25}(\.[0-9]*)?([eE]\+?[0-9]{1,2})?")
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?"
    r" ?(Z|UTC|[+-]\d\d(?::?\d\d)?)?)?",
    re.IGNORECASE,
)
INVALID = np.iinfo(np.int64).min


def unit(values: Iterable[str]) -> str:
    """The unit of a file by some of its times: "s", "ms", "us", "ns", "iso", or "" if unknown."""
    texts = list(values)
    numbers = [float(text) for text in texts if _NUMBER.fullmatch(text)]
    dates = sum(from_iso(text) is not None for text in texts)
    if dates > len(numbers):
        return ISO
    if not numbers:
        return ""
    median = statistics.median_low(numbers)  # a mean of two units would be a third
    return next((name for name, bound in _BELOW if median < bound), "ns")


def is_time(text: str) -> bool:
    """Whether a text can be read as a time of any unit."""
    return bool(_NUMBER.fullmatch(text)) or from_iso(text) is not None


def microseconds(column: pa.Array, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds since 1970 of trimmed texts.

    Args:
      column: N texts, none of them null.
      unit: of numbers; "iso" allows no numbers.

    Returns:
      int64 of shape (N,), rounded down; and which rows are times, bool of shape (N,).
    """
    if unit != ISO and _all_digits(column):
        seconds = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
        return _scale(seconds, unit), np.ones(len(column), bool)
    distinct = column.dictionary_encode()  # days repeat, and each text takes a while
    parsed = [parse(text, unit) for text in distinct.dictionary.to_pylist()]
    result = np.array(parsed, np.int64).reshape(-1)[distinct.indices.to_numpy()]
    return result, result != INVALID


def from_iso(text: str) -> int | None:
    """Microseconds since 1970 of an ISO 8601 date or time; None if it is none."""
    match = _ISO.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    fraction, zone = match.group(7) or "", (match.group(8) or "Z").upper()
    leap = second == 60  # a leap second is the first of the next minute
    try:
        at = datetime.datetime(year, month, day, hour, minute, 59 if leap else second)
    except ValueError:
        return None
    total = int((at - datetime.datetime(1970, 1, 1)).total_seconds()) + leap
    if zone not in ("Z", "UTC"):
        digits = zone[1:].replace(":", "").ljust(4, "0")
        offset = int(digits[:2]) * 3600 + int(digits[2:]) * 60
        total -= offset if zone[0] == "+" else -offset
    return total * SECOND + int(fraction[:6].ljust(6, "0"))


def text(time: int) -> str:
    """Microseconds since 1970 as an ISO 8601 text, without what is zero; or why there is none."""
    try:
        at = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=int(time))
    except OverflowError:
        return "no time" if time == INVALID else "outside of the years 1 to 9999"
    return at.date().isoformat() if time % (86_400 * SECOND) == 0 else at.isoformat(" ")


def _all_digits(column: pa.Array) -> bool:
    """Whether all texts are digits, 18 at most and at least one."""
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    width = np.diff(bounds)
    if not len(width) or width.min() < 1 or width.max() > 18:
        return False
    digits = np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]
    return bool(digits.min() >= ord("0") and digits.max() <= ord("9"))


def _scale(values: np.ndarray, unit: str) -> np.ndarray:
    factor = _PER_SECOND[unit]
    if factor > SECOND:
        return values // (factor // SECOND)
    limit = np.iinfo(np.int64).max // (SECOND // factor)
    return np.clip(values, -limit, limit) * (SECOND // factor)


def parse(text: str, unit: str) -> int:
    """Microseconds since 1970 of one text; the smallest int64 if it is no time."""
    if unit != ISO and _NUMBER.fullmatch(text):
        with decimal.localcontext() as context:
            context.prec = 60
            value = decimal.Decimal(text) * SECOND / _PER_SECOND[unit]
            whole = int(value.to_integral_value(decimal.ROUND_FLOOR))
        return min(max(whole, INVALID + 1), -INVALID - 1)
    iso = from_iso(text)
    return INVALID if iso is None else iso
