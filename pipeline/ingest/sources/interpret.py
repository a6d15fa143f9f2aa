"""From texts of a row to an event, or to the reason why it is none.

One set of rules for all formats: blanks and byte order marks around a value do
not count; `\\N`, null, None, NaN and <NA> are no value; a rating and a time are
decimal numbers; a time lies between 1995 and tomorrow.
"""

import dataclasses
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.sources import times
from pipeline.ingest.sources.layout import ITEM, RATING, TIME, USER, Layout
from pipeline.ingest.sources.records import BadLine, Records
from transforms import features

FIRST_TIME = 788_918_400  # 1995-01-01, before which Amazon sold nothing
EVENTS = pa.schema([(USER, pa.binary()), (ITEM, pa.binary()), (TIME, pa.int64())])
LONGEST_ID = 1024  # bytes
BLANKS = " \t\r\n\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029\u3000\ufeff"
_NULLS = ("", "\\n", "null", "none", "nan", "<na>")
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_REASONS = (
    "",
    "no user",
    "no item",
    f"user longer than {LONGEST_ID} bytes",
    f"item longer than {LONGEST_ID} bytes",
    "rating is no number",
    "no time",
    "time is no number and no ISO 8601 date",
    "time before 1995",
    "time in the future",
)


@dataclasses.dataclass
class Parsed:
    """The events of a block, and its bad lines.

    Attributes:
      events: user, item and time (microseconds since 1970), as in `EVENTS`; then the value of
        each event field, as bytes, under the name of its feature.
      lines: how many lines are not blank and no header.
      unwanted: how many of them have a rating below the least wanted one.
      bad: place, reason and text of the bad lines.
    """

    events: pa.RecordBatch
    lines: int
    unwanted: int
    bad: list[BadLine]


def events(records: Records, layout: Layout, min_rating: float, now: float) -> Parsed:
    """The events of some rows.

    Args:
      records: the rows.
      layout: of their file.
      min_rating: rows with a lower rating are no events.
      now: seconds since 1970; a time more than a day later is bad.
    """
    columns = {role: _trimmed(column) for role, column in records.columns.items()}
    count = len(columns[TIME])
    reason = np.zeros(count, np.int8)
    micros, is_time = times.microseconds(columns[TIME], layout.unit)
    reason[micros > (now + 86_400) * times.SECOND] = 9
    reason[micros < FIRST_TIME * times.SECOND] = 8
    reason[~is_time] = 7
    reason[_is_null(columns[TIME])] = 6
    rating = _numbers(columns[RATING]) if RATING in columns else np.zeros(count)
    reason[~np.isfinite(rating)] = 5
    for number, role in ((2, ITEM), (1, USER)):
        reason[_lengths(columns[role]) > LONGEST_ID] = number + 2
        reason[_is_null(columns[role])] = number
    bad = records.bad + [
        (int(records.places[row]), _REASONS[reason[row]], records.text(row))
        for row in np.flatnonzero(reason).tolist()
    ]
    wanted = (reason == 0) & ((rating >= min_rating) if RATING in columns else True)
    unwanted = int(np.count_nonzero((reason == 0) & ~wanted))
    names = features.of_events(columns)
    arrays = [columns[USER], columns[ITEM], pa.array(micros)]
    arrays += [_values(columns[name]) for name in names]
    if not wanted.all():
        arrays = [array.filter(pa.array(wanted)) for array in arrays]
    schema = pa.schema([*EVENTS, *((name, pa.binary()) for name in names)])
    batch = pa.RecordBatch.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, schema, strict=True)],
        schema=schema,
    )
    return Parsed(batch, records.lines, unwanted, bad)


def _values(texts: pa.Array) -> pa.Array:
    """Values of an event field: "" for none, and no more characters than count."""
    if len(texts) and _lengths(texts).max() > features.LONGEST_EVENT_VALUE:
        texts = pc.utf8_slice_codeunits(texts, 0, features.LONGEST_EVENT_VALUE)
    missing = _is_null(texts)
    return pc.if_else(pa.array(missing), "", texts) if missing.any() else texts


def _trimmed(texts: pa.Array) -> pa.Array:
    """Texts without blanks and byte order marks around them."""
    data = texts.buffers()[2]
    raw = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    if len(raw) and (raw.min() <= ord(" ") or raw.max() >= 0x80):
        return pc.utf8_trim(texts, characters=BLANKS)
    return texts


def _lengths(texts: pa.Array) -> np.ndarray:
    """Bytes of each text, shape (N,)."""
    _, offsets, _ = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.diff(bounds)


def _is_null(texts: pa.Array) -> np.ndarray:
    """Which texts stand for no value, bool of shape (N,)."""
    result = _lengths(texts) <= max(map(len, _NULLS))
    short = np.flatnonzero(result)
    if len(short):
        lowered = pc.utf8_lower(texts.take(pa.array(short)))
        result[short] = pc.is_in(lowered, value_set=pa.array(_NULLS)).to_numpy(zero_copy_only=False)
    return result


def _numbers(texts: pa.Array) -> np.ndarray:
    """Texts as float64, shape (N,); NaN for what is no finite decimal number."""
    distinct = texts.dictionary_encode()  # there are few ratings
    values = [
        float(text) if re.match(_NUMBER, text) else np.nan
        for text in distinct.dictionary.to_pylist()
    ]
    return np.array(values, np.float64).reshape(-1)[distinct.indices.to_numpy()]
