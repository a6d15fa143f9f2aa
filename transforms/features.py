"""Names and shapes of the features, from ingestion to the model.

A sample has one history of a user and one target. Ingestion writes raw features, and a client of
the served model sends them. TensorFlow Transform turns them into transformed features, which a
model reads. Histories start with the oldest event and are padded on the right.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

# Raw features. L is the setting `max_history_length`.
USER_ID = "user_id"  # bytes [1]
HISTORY_ITEM = "history_item"  # bytes [L], padding is b""
HISTORY_TIME = "history_time"  # int64 [L], seconds since 1970, padding is 0
HISTORY_LENGTH = "history_length"  # int64 [1], number of events, at most L
TARGET_ITEM = "target_item"  # bytes [1]
TARGET_TIME = "target_time"  # int64 [1], seconds since 1970
LABEL = "label"  # int64 [1], 1 for an event of the user, 0 for a negative
# Beside these, `history_feature(name)` for each of the event fields: bytes [L], padding is b"".

# Slice keys: raw features for evaluation only; a model never reads them.
HISTORY_BUCKET = "history_bucket"  # bytes [1], one value per user and split
TARGET_BUCKET = "target_bucket"  # bytes [1], number of training events of the target

# Transformed features beside HISTORY_ITEM, HISTORY_LENGTH, TARGET_ITEM and
# LABEL, which keep their names: items become int64 ids (0 is padding, then the
# out-of-vocabulary buckets, then the vocabulary).
HISTORY_ELAPSED = "history_elapsed"  # int64 [L], bucket of target_time - history_time
USER = "user"  # int64 [1], a hash of user_id: groups rows for GAUC on eval; no model reads it
# An event field keeps its name too: int64 [L], 0 is padding, EVENT_MISSING, then the vocabulary.
EVENT_MISSING, FIRST_EVENT_VALUE = 1, 2  # a missing or unknown value; the most frequent one
LONGEST_EVENT_VALUE = 100  # characters of a value that count

# The users of each split by the length of their history: below the median of
# training, up to its nine tenths, and the top tenth.
HISTORY_BUCKETS = ("short", "medium", "long")
# Training events of the target item: lower bounds of the buckets, and names.
TARGET_BUCKET_BOUNDS = (0, 1, 5, 20, 100)
TARGET_BUCKETS = ("0", "1-4", "5-19", "20-99", "100+")

SPLITS = ("train", "eval", "test")

# The vocabulary that history and target share.
ITEM_VOCABULARY = "item"
# Elapsed time 0 is bucket 0, [2^k, 2^(k+1)) units are bucket k + 1, and times
# beyond the last bucket stay in it: 2^30 units are enough for any unit.
NUM_TIME_BUCKETS = 32

_HISTORY = "history_"
_RESERVED = (HISTORY_ITEM, HISTORY_TIME, HISTORY_LENGTH, HISTORY_ELAPSED, HISTORY_BUCKET)


def event_fields(setting: str) -> tuple[str, ...]:
    """The names in the setting `event_fields`, which are those of columns of the ratings.

    Raises:
      ValueError: for a name that is empty, there twice, or that of a feature of every history.
    """
    names = tuple(name.strip() for name in setting.split(",")) if setting.strip() else ()
    taken = dict.fromkeys(_RESERVED, "a part of every history")
    for name in names:
        feature = history_feature(name)
        if not name or feature in taken:
            raise ValueError(
                "`event_fields` must be names of columns joined by commas, such as "
                f"rating,verified. Received: {setting!r}, at {name!r}"
                + (f", which is {taken[feature]}." if name else ", which is no name.")
            )
        taken[feature] = f"there already, as {name!r}"
    return names


def history_feature(field: str) -> str:
    """The feature of an event field, raw and transformed: `history_` and the name as one word."""
    return _HISTORY + _word(field)


def event_vocabulary(field: str) -> str:
    """The vocabulary of an event field: `event_` and the name as one word."""
    return f"event_{_word(field)}"


def of_events(names: Iterable[str]) -> list[str]:
    """Those of some feature names that belong to event fields."""
    return [name for name in names if name.startswith(_HISTORY) and name not in _RESERVED]


def of_each_event(inputs: Mapping[str, T]) -> dict[str, T]:
    """Those of some transformed features that have a value for each event, `(B, L)`."""
    always = (HISTORY_ITEM, HISTORY_ELAPSED)
    return {name: inputs[name] for name in (*always, *of_events(inputs)) if name in inputs}


def _word(field: str) -> str:
    return re.sub("[^A-Za-z0-9_]", "_", field)
