"""The choices of ingestion in plain Python, one user at a time: splits, targets, negatives.

They repeat the rules of `pipeline.ingest` with the same hashes, so that the naive job
(`naive_beam.py`) writes the same Examples. An event is a tuple: time in seconds, hash that breaks
ties, item, and whether it is the user's first event with this item. Splits are numbers, in the
order of `features.SPLITS`.
"""

import bisect
import collections
import functools
import math
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.configs import Settings
from pipeline.ingest import hashing, negatives
from transforms import features

DAY = 86_400
_MASK = (1 << 64) - 1
# Hashes are Any, because Beam's coder of int ends at 2^63.
Event = tuple[int, Any, str, bool]


def sort_events(user: tuple[str, Iterable[tuple[str, int]]], seed: int) -> tuple[str, list[Event]]:
    """Sorts the distinct events of a user; marks the first event with each item."""
    name, ratings = user
    user_hash = hash_text(name)
    ordered = sorted(
        (time, mix(seed, 1, user_hash, hash_text(item)), item) for item, time in set(ratings)
    )
    known: set[str] = set()
    events = []
    for time, tie, item in ordered:
        events.append((time, tie, item, item not in known))
        known.add(item)
    return name, events


def choose_targets(
    user: tuple[str, list[Event]], settings: Settings, edges: tuple[int, int]
) -> tuple[str, list[Event], list[tuple[int, int]], list[int]]:
    """Adds row and split of each target, and the split of each event."""
    name, events = user
    splits = _splits(name, events, settings, edges)
    last = splits.count(0) - 1
    targets = []
    windows = 0
    for row in reversed(range(len(events))):
        if not events[row][3] or history_end(events, row, settings) < settings.min_history_length:
            continue
        if splits[row] == 0:
            # Every `shift`-th event of training, counted back from the last.
            if (last - row) % settings.shift or windows == settings.max_windows_per_user:
                continue
            windows += 1
        targets.append((row, splits[row]))
    return name, events, targets[::-1], splits


def _splits(
    user: str, events: list[Event], settings: Settings, edges: tuple[int, int]
) -> list[int]:
    if settings.split == "temporal":
        return [bisect.bisect(edges, event[0] // DAY) for event in events]
    if settings.split == "user":
        position = (mix(settings.sampling_seed, 2, hash_text(user)) >> 11) / 2**53
        held = settings.test_share + settings.eval_share
        return [2 if position < settings.test_share else int(position < held)] * len(events)
    count = len(events)
    test = min(max(math.floor(count * settings.test_share + 0.5), 1), count - 1)
    held = min(max(math.floor(count * settings.eval_share + 0.5), 1), count - 1 - test)
    return [0] * (count - test - held) + [1] * held + [2] * test


def history_end(events: list[Event], row: int, settings: Settings) -> int:
    """Number of events before the target at `row` that its history may contain."""
    if settings.same_day == "exclude":
        while row and events[row - 1][0] // DAY == events[row][0] // DAY:
            row -= 1
        # `row` is now the first event of the target's day.
    return row


def last_lengths(user: tuple, settings: Settings) -> dict[int, int]:
    """History length at the last target of each split."""
    _, events, targets, _ = user
    return {split: history_end(events, row, settings) for row, split in targets}


def training_length(user: tuple, settings: Settings) -> list[int]:
    """History length at the last training target, if the user has one."""
    return [length for split, length in last_lengths(user, settings).items() if split == 0]


def time_blocks(days: dict[tuple[int, int], int]) -> list[tuple[list[int], list[int]]]:
    """The time blocks of each split: first days, and numbers of targets.

    Args:
      days: number of targets by split and day.
    """
    by_split: dict[int, dict[int, int]] = collections.defaultdict(dict)
    for (split, day), count in days.items():
        by_split[split][day] = count
    return [negatives.time_blocks(by_split[split]) for split in range(len(features.SPLITS))]


def pool_candidates(
    user: tuple, settings: Settings, blocks: list
) -> Iterator[tuple[tuple[int, int], tuple[Any, str]]]:
    """Yields pool, position in the pool, and item for each target of the user."""
    name, events, targets, _ = user
    for row, split in targets:
        time, _, item, _ = events[row]
        first_days, counts = blocks[split]
        block = bisect.bisect(first_days, time // DAY) - 1
        position = mix(settings.sampling_seed, 4, hash_text(name), hash_text(item), time)
        if position <= int(hashing.threshold(negatives.BLOCK_POOL, counts[block])):
            yield (split, block), (position, item)


def draw_negative(
    key: int, pool: list[str], record: set[str], split: int, pools: dict
) -> str | None:
    """An item that is not in the record of the user; None if the split has none.

    Tries 16 draws from the pool, then 16 from all pools of the split, then all of these in order.
    """
    all_items: list[str] = []
    for attempt in range(32):
        if attempt == 16:
            groups = (group for group in sorted(pools) if group[0] == split)
            all_items = [item for group in groups for item in pools[group]]
        source = all_items if attempt >= 16 else pool
        last = mix(3, key, attempt) % len(source)
        if source[last] not in record:
            return source[last]
    rest = (all_items[(last + step) % len(all_items)] for step in range(len(all_items)))
    return next((item for item in rest if item not in record), None)


def mix(*values: int) -> int:
    """`hashing.mix` for Python integers."""
    h = 0
    for value in values:
        h = (h * 0x9E3779B97F4A7C15 + value) & _MASK
        h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & _MASK
        h ^= h >> 31
    return h


@functools.lru_cache(maxsize=1 << 18)
def hash_text(text: str) -> int:
    """`hashing.hash_strings` for one id."""
    data = text.encode()
    words = (int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8))
    return mix(len(data), *words)
