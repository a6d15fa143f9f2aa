"""The naive ingestion job: one Beam element for each rating, then one for each user.

The ingestion benchmark compares it with `pipeline.ingest`. It makes the same choices
with the same hashes, in Python integers, so that both jobs write the same Examples.
It reads only the layout of Amazon 2014.
"""

import bisect
import collections
import functools
import math
import os
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf

from pipeline.configs import Settings
from pipeline.ingest import hashing, histories, negatives
from transforms import features

_DAY = 86_400
_MASK = (1 << 64) - 1
_FIRST_TIME = 788_918_400
# Time, tie, item, is first with this item. Hashes are Any: Beam's coder of int ends at 2^63.
Event = tuple[int, Any, str, bool]


def run(settings: Settings, output: str, pipeline: beam.Pipeline, now: float) -> None:
    """Writes the splits of `settings.ratings` under `output`."""
    users = (
        pipeline
        | beam.io.ReadFromText(settings.ratings)
        | "Parse" >> beam.FlatMap(parse, settings.min_rating, now)
        | "Group by user" >> beam.GroupByKey()
        | "Sort" >> beam.Map(sort_events, settings.sampling_seed)
    )
    edges = beam.pvalue.AsSingleton(
        users
        | "Days" >> beam.FlatMap(lambda user: [event[0] // _DAY for event in user[1]])
        | "Count days" >> beam.combiners.Count.PerElement()
        | "All days" >> beam.combiners.ToDict()
        | "Edges" >> beam.Map(histories.boundaries, settings.eval_share, settings.test_share)
    )
    targets = users | "Targets" >> beam.Map(choose_targets, settings, edges)
    blocks = beam.pvalue.AsSingleton(
        targets
        | "Target days"
        >> beam.FlatMap(lambda user: [(s, user[1][row][0] // _DAY) for row, s in user[2]])
        | "Count target days" >> beam.combiners.Count.PerElement()
        | "All target days" >> beam.combiners.ToDict()
        | "Blocks" >> beam.Map(_blocks)
    )
    bounds = beam.pvalue.AsSingleton(
        targets
        | "Lengths" >> beam.FlatMap(lambda user: _last_lengths(user, settings).get(0, []))
        | "Count lengths" >> beam.combiners.Count.PerElement()
        | "All lengths" >> beam.combiners.ToDict()
        | "Bounds" >> beam.Map(histories.length_bounds)
    )
    seen = beam.pvalue.AsDict(
        targets
        | "Training items"
        >> beam.FlatMap(
            lambda user: [e[2] for e, s in zip(user[1], user[3], strict=True) if s == 0]
        )
        | "Count items" >> beam.combiners.Count.PerElement()
    )
    pools = beam.pvalue.AsSingleton(
        targets
        | "Candidates" >> beam.FlatMap(pool_candidates, settings, blocks)
        | "Group by pool" >> beam.GroupByKey()
        | "Pool" >> beam.Map(lambda group: (group[0], [item for _, item in sorted(group[1])]))
        | "All pools" >> beam.combiners.ToDict()
    )
    samples = targets | "Samples" >> beam.ParDo(
        Samples(settings), blocks, bounds, seen, pools
    ).with_outputs(*features.SPLITS)
    for name in features.SPLITS:
        folder = os.path.join(output, f"Split-{name}")
        tf.io.gfile.makedirs(folder)
        _ = samples[name] | f"Write {name}" >> beam.io.WriteToTFRecord(
            os.path.join(folder, "data_tfrecord"), file_name_suffix=".gz"
        )
    pipeline.run().wait_until_finish()


def parse(line: str, min_rating: float, now: float) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yields user, item and time of a valid line; skips other lines."""
    try:
        user, item, rating, time = line.split(",")
        if float(rating) >= min_rating and _FIRST_TIME <= int(time) <= now + _DAY and user and item:
            yield user, (item, int(time))
    except ValueError:
        return


def sort_events(user: tuple[str, Iterable[tuple[str, int]]], seed: int) -> tuple[str, list[Event]]:
    """Sorts the distinct events of a user; marks the first event with each item."""
    user_hash = hash_text(user[0])
    ordered = sorted(
        (time, mix(seed, 1, user_hash, hash_text(item)), item) for item, time in set(user[1])
    )
    known: set[str] = set()
    events = []
    for time, tie, item in ordered:
        events.append((time, tie, item, item not in known))
        known.add(item)
    return user[0], events


def choose_targets(
    user: tuple[str, list[Event]], settings: Settings, edges: tuple[int, int]
) -> tuple[str, list[Event], list[tuple[int, int]], list[int]]:
    """Adds row and split of each target, and the split of each event."""
    name, events = user
    split = _splits(name, events, settings, edges)
    last = split.count(0) - 1
    chosen = []
    windows = 0
    for row in reversed(range(len(events))):
        if not events[row][3] or _history_end(events, row, settings) < settings.min_history_length:
            continue
        if split[row] == 0:
            if (last - row) % settings.shift or windows == settings.max_windows_per_user:
                continue
            windows += 1
        chosen.append((row, split[row]))
    return name, events, chosen[::-1], split


def pool_candidates(
    user: tuple, settings: Settings, blocks: list
) -> Iterator[tuple[tuple[int, int], tuple[Any, str]]]:
    """Yields pool, position in the pool, and item for each target of the user."""
    name, events, targets, _ = user
    for row, split in targets:
        time, _, item, _ = events[row]
        block = bisect.bisect(blocks[split][0], time // _DAY) - 1
        position = mix(settings.sampling_seed, 4, hash_text(name), hash_text(item), time)
        if position <= int(hashing.threshold(negatives.BLOCK_POOL, blocks[split][1][block])):
            yield (split, block), (position, item)


class Samples(beam.DoFn):
    """Cuts the windows of a user, draws negatives and builds Examples."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def process(
        self, user: tuple, blocks: list, bounds: tuple[int, int], seen: dict, pools: dict
    ) -> Iterator[Any]:
        """Beam calls this function for each user."""
        settings = self._settings
        name, events, targets, _ = user
        record = {event[2] for event in events}
        lengths = {split: length for split, (length,) in _last_lengths(user, settings).items()}
        for row, split in targets:
            time, _, item, _ = events[row]
            end = _history_end(events, row, settings)
            history = events[max(0, end - settings.max_history_length) : end]
            block = bisect.bisect(blocks[split][0], time // _DAY) - 1
            pool = pools[(split, block)]
            drawn = []
            for k in range(settings.negatives_per_positive):
                key = mix(settings.sampling_seed, 5, hash_text(name), hash_text(item), time, k)
                drawn.append(_draw(key, pool, record, split, pools))
            if None in drawn:
                continue
            bucket = features.HISTORY_BUCKETS[bisect.bisect(bounds, lengths[split])]
            for target, label in [(item, 1), *((other, 0) for other in drawn)]:
                example = self._example(name, history, target, time, label, bucket, seen)
                yield beam.pvalue.TaggedOutput(features.SPLITS[split], example)

    def _example(
        self,
        user: str,
        history: list[Event],
        target: str,
        time: int,
        label: int,
        bucket: str,
        seen: dict,
    ) -> bytes:
        padding = self._settings.max_history_length - len(history)
        frequency = bisect.bisect(features.TARGET_BUCKET_BOUNDS, seen.get(target, 0)) - 1
        items = [event[2].encode() for event in history] + [b""] * padding
        return tf.train.Example(
            features=tf.train.Features(
                feature={
                    features.USER_ID: _bytes([user.encode()]),
                    features.HISTORY_ITEM: _bytes(items),
                    features.HISTORY_TIME: _ints([event[0] for event in history] + [0] * padding),
                    features.HISTORY_LENGTH: _ints([len(history)]),
                    features.TARGET_ITEM: _bytes([target.encode()]),
                    features.TARGET_TIME: _ints([time]),
                    features.LABEL: _ints([label]),
                    features.HISTORY_BUCKET: _bytes([bucket.encode()]),
                    features.TARGET_BUCKET: _bytes([features.TARGET_BUCKETS[frequency].encode()]),
                }
            )
        ).SerializeToString()


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


def _splits(
    user: str, events: list[Event], settings: Settings, edges: tuple[int, int]
) -> list[int]:
    if settings.split == "temporal":
        return [bisect.bisect(edges, event[0] // _DAY) for event in events]
    if settings.split == "user":
        position = (mix(settings.sampling_seed, 2, hash_text(user)) >> 11) / 2**53
        held = settings.test_share + settings.eval_share
        return [2 if position < settings.test_share else int(position < held)] * len(events)
    count = len(events)
    test = min(max(math.floor(count * settings.test_share + 0.5), 1), count - 1)
    held = min(max(math.floor(count * settings.eval_share + 0.5), 1), count - 1 - test)
    return [0] * (count - test - held) + [1] * held + [2] * test


def _history_end(events: list[Event], row: int, settings: Settings) -> int:
    if settings.same_day == "exclude":
        while row and events[row - 1][0] // _DAY == events[row][0] // _DAY:
            row -= 1
        # `row` is now the first event of the target's day.
    return row


def _last_lengths(user: tuple, settings: Settings) -> dict[int, list[int]]:
    """History length at the last target of each split, as a list with one element."""
    return {split: [_history_end(user[1], row, settings)] for row, split in user[2]}


def _blocks(days: dict[tuple[int, int], int]) -> list[tuple[list[int], list[int]]]:
    by_split: dict[int, dict[int, int]] = collections.defaultdict(dict)
    for (split, day), count in days.items():
        by_split[split][day] = count
    return [negatives.time_blocks(by_split[split]) for split in range(len(features.SPLITS))]


def _draw(key: int, pool: list[str], record: set[str], split: int, pools: dict) -> str | None:
    wide: list[str] = []
    for t in range(32):
        if t == 16:
            wide = [i for group in sorted(pools) if group[0] == split for i in pools[group]]
        source = wide if t >= 16 else pool
        last = mix(3, key, t) % len(source)
        if source[last] not in record:
            return source[last]
    rows = (wide[(last + step) % len(wide)] for step in range(len(wide)))
    return next((item for item in rows if item not in record), None)


def _bytes(values: list[bytes]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _ints(values: list[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
