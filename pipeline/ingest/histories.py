"""Sorts the events of users; assigns splits, targets and windows, in NumPy.

All arrays of N events are sorted by user, then time, then a hash of user and item: Amazon's
clock has days, and events of the same time must not keep the order of the file. Times are
compared in microseconds and kept in seconds.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from pipeline.configs import Ingestion
from pipeline.ingest import hashing
from pipeline.ingest.sources.layout import ITEM, TIME, USER
from pipeline.ingest.sources.times import SECOND
from transforms import features

SECONDS_A_DAY = 86_400
TRAIN, EVAL, TEST = 0, 1, 2
_TIE, _SPLIT, _VALUE = 1, 2, 6  # keep the hashes of different choices apart


@dataclasses.dataclass
class Events:
    """All events of some users.

    Attributes:
      users: ids of the U users.
      items: ids of the I items.
      user: index in `users` of each event, shape (N,).
      item: index in `items` of each event, shape (N,).
      time: seconds since 1970, shape (N,).
      fresh: whether this is the user's first event with the item, shape (N,).
      values: the value of each event by the feature of an event field, N of them, encoded.
    """

    users: pa.Array
    items: pa.Array
    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    fresh: np.ndarray
    values: Mapping[str, pa.DictionaryArray] = dataclasses.field(default_factory=dict)

    @property
    def day(self) -> np.ndarray:
        """Days since 1970, shape (N,)."""
        return self.time // SECONDS_A_DAY

    @property
    def start(self) -> np.ndarray:
        """Index of the first event of the same user, shape (N,)."""
        return run_starts(self.user)


@dataclasses.dataclass
class Targets:
    """The events that become positive samples, in order.

    Attributes:
      row: index of the event, shape (T,).
      split: 0 train, 1 eval, 2 test, shape (T,).
      begin: index of the oldest event of the history, shape (T,).
      end: index after the newest event of the history, shape (T,).
      length: length of the history before it is cut to L, shape (T,).
      capped: number of training targets that the cap on windows dropped.
    """

    row: np.ndarray
    split: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    length: np.ndarray
    capped: int


def sort_events(table: pa.Table, seed: int) -> tuple[Events, int]:
    """Sorts events and drops repeated ones (same user, item and microsecond).

    Of repeated events with different values, a hash of the values decides which one stays.

    Args:
      table: user, item and time (microseconds since 1970), and the values of event fields; one
        chunk a column.
      seed: decides the order of events with the same time.

    Returns:
      the events, and the number of dropped ones.
    """
    users, user = _encode(table[USER])
    items, item = _encode(table[ITEM])
    time = table[TIME].to_numpy()
    tie = hashing.mix(
        seed, _TIE, hashing.hash_strings(users)[user], hashing.hash_strings(items)[item]
    )
    seconds = time // SECOND
    # Seconds of events fit 32 bits when counted from the earliest.
    key = (user.astype(np.int64) << 32) | (seconds - seconds.min(initial=2**62))
    fraction = (time - seconds * SECOND).astype(np.int32)
    columns = (tie, fraction, key) if fraction.any() else (tie, key)
    values = {name: _encode(table[name]) for name in features.of_events(table.column_names)}
    hashed = [hashing.hash_strings(texts)[index] for texts, index in values.values()]
    order = np.lexsort([hashing.mix(seed, _VALUE, *hashed), *columns] if hashed else columns)
    again = np.zeros(len(order), bool)
    again[1:] = np.logical_and.reduce(
        [column[order[1:]] == column[order[:-1]] for column in columns]
    )
    unique = order[~again]
    user, item = user[unique], item[unique]
    fresh = np.zeros(len(unique), bool)
    pairs = (user.astype(np.int64) << 32) | item
    fresh[np.unique(pairs, return_index=True)[1]] = True
    kept = {
        name: pa.DictionaryArray.from_arrays(pa.array(index[unique]), texts)
        for name, (texts, index) in values.items()
    }
    return Events(users, items, user, item, seconds[unique], fresh, kept), int(again.sum())


def boundaries(days: dict[int, int], eval_share: float, test_share: float) -> tuple[int, int]:
    """The days on which eval and test begin, for splits by time.

    A boundary is the start of the day that holds the quantile of all events:
    the day of the event number floor(count · share before the split).

    Args:
      days: number of events by day since 1970.
      eval_share: approximate share of the events in eval.
      test_share: approximate share of the events in test.
    """
    ordered = sorted(days)
    before = np.cumsum([days[day] for day in ordered])
    first, second = (
        ordered[int(np.searchsorted(before, int(before[-1] * share), side="right"))]
        for share in (1 - eval_share - test_share, 1 - test_share)
    )
    return first, second


def splits(events: Events, settings: Ingestion, edges: tuple[int, int]) -> np.ndarray:
    """The split of each event: 0 train, 1 eval, 2 test; shape (N,).

    `temporal` compares the event's day with `edges`. `user` compares a hash of
    the user, as a number in [0, 1), with the shares. `leave_last` counts a
    user's n events back from the last: floor(n · test_share + 1/2) of them go
    to test and floor(n · eval_share + 1/2) before those to eval, each at least
    one, but the first event always stays in train, and test goes before eval.

    Args:
      events: all events of some users.
      settings: `split` and the shares.
      edges: the days on which eval and test begin; used by `temporal` only.
    """
    if settings.split == "temporal":
        return np.searchsorted(np.array(edges), events.day, side="right").astype(np.int8)
    if settings.split == "user":
        place = hashing.share(
            hashing.mix(settings.sampling_seed, _SPLIT, hashing.hash_strings(events.users))
        )
        of_user = np.where(
            place < settings.test_share,
            TEST,
            np.where(place < settings.test_share + settings.eval_share, EVAL, TRAIN),
        )
        return of_user[events.user].astype(np.int8)
    count = np.bincount(events.user, minlength=len(events.users))
    test = np.minimum(np.maximum(np.floor(count * settings.test_share + 0.5), 1), count - 1)
    held = np.minimum(np.maximum(np.floor(count * settings.eval_share + 0.5), 1), count - 1 - test)
    left = count[events.user] - (np.arange(len(events.user)) - events.start)
    late, later = (test + held)[events.user], test[events.user]
    return ((left <= late).astype(np.int8) + (left <= later)).astype(np.int8)


def choose_targets(events: Events, split: np.ndarray, settings: Ingestion) -> Targets:
    """The targets of all splits and their windows.

    A target is a fresh event with a history of at least `min_history_length`
    events: those before it, without those of its own day under
    `same_day=exclude`. In train, targets step back from the user's last
    training event by `shift`, and the newest `max_windows_per_user` stay. In eval and in test the
    newest `max_targets_per_user` stay.

    Args:
      events: all events of some users.
      split: split of each event, shape (N,).
      settings: `shift`, the lengths, `same_day` and the cap.
    """
    rows = np.arange(len(events.user))
    start = events.start
    end = rows if settings.same_day == "include" else run_starts(events.user, events.day)
    chosen = events.fresh & (end - start >= settings.min_history_length)
    in_train = split == TRAIN
    trained = np.bincount(events.user[in_train], minlength=len(events.users))
    back = start + trained[events.user] - 1 - rows
    chosen &= ~in_train | (back % settings.shift == 0)
    capped = _beyond(events.user, chosen & in_train, settings.max_windows_per_user)
    chosen[capped] = False
    if settings.max_targets_per_user:
        for held_out in (EVAL, TEST):
            of_split = chosen & (split == held_out)
            chosen[_beyond(events.user, of_split, settings.max_targets_per_user)] = False
    row = np.flatnonzero(chosen)
    length = end[row] - start[row]
    return Targets(
        row=row,
        split=split[row],
        begin=end[row] - np.minimum(length, settings.max_history_length),
        end=end[row],
        length=length,
        capped=len(capped),
    )


def last_lengths(events: Events, targets: Targets) -> np.ndarray:
    """Length of the history at the user's last target in the same split, shape (T,)."""
    begins = run_starts(events.user[targets.row], targets.split)
    last = np.zeros(len(begins), np.int64)
    last[begins] = np.arange(len(begins))  # the last row of a run overwrites the others
    return targets.length[last[begins]]


def run_starts(*columns: np.ndarray) -> np.ndarray:
    """For each row, the index at which its run of equal values begins, shape (N,)."""
    begins = np.zeros(len(columns[0]), np.int64)
    new = np.zeros(len(begins), bool)
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    begins[new] = np.flatnonzero(new)
    return np.maximum.accumulate(begins)


def length_bounds(lengths: dict[int, int]) -> tuple[int, int]:
    """Bounds of "medium" and "long" histories.

    Args:
      lengths: users of the train split by the length of their history.

    Returns:
      the smallest m with at least half of the users at or below it: "short" is
      below m; and the smallest t that at most a tenth of the users reach:
      "long" begins there, and is empty if ties leave nobody.
    """
    ordered = np.array(sorted(lengths))
    count = np.array([lengths[length] for length in ordered])
    reached = np.cumsum(count)
    median = int(ordered[np.searchsorted(reached, reached[-1] / 2)])
    few = np.flatnonzero((reached[-1] - reached) * 10 <= reached[-1])[0]
    return median, int(ordered[few]) + 1


def _beyond(user: np.ndarray, chosen: np.ndarray, most: int) -> np.ndarray:
    """Chosen rows that are not among the last `most` chosen rows of their user."""
    rows = np.flatnonzero(chosen)
    newer = np.searchsorted(user[rows], user[rows], side="right") - 1 - np.arange(len(rows))
    return rows[newer >= most]


def _encode(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.dictionary, encoded.indices.to_numpy()
