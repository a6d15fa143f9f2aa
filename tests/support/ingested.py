"""What the tests of ingestion share: ratings from hypothesis, the job run, examples read back."""

import collections
import gzip
import os
import pathlib
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import tensorflow as tf
from hypothesis import strategies as st

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.ingest import job, plans, shards, stages
from pipeline.ingest.sources import reading
from transforms import features

DAY = 86_400
FIRST = 1_300_000_000 // DAY  # a day in 2011

Rating = tuple[str, str, int]  # user, item, time


class Sample(NamedTuple):
    """An example as Python sees it, its padding gone."""

    split: str
    user: str
    history: tuple[tuple[str, int], ...]
    target: str
    time: int
    label: int
    history_bucket: str
    target_bucket: str
    values: tuple[tuple[str, tuple[str, ...]], ...] = ()  # of the history, by event field


@st.composite
def ratings(draw: Any, users: int = 6, items: int = 40, days: int = 20) -> list[Rating]:
    """Events of a few users; some share a day, some an item, some are there twice."""
    events = draw(
        st.lists(
            st.tuples(
                st.integers(0, users - 1),
                st.integers(0, items - 1),
                st.integers(0, days - 1),
                st.sampled_from([0, 0, 0, 3600]),
            ),
            min_size=60,
            max_size=120,
        )
    )
    return [(f"U{u}", f"I{i}", (FIRST + d) * DAY + s) for u, i, d, s in events]


def score(user: str, item: str, at: int) -> str:
    """A rating that tells events apart."""
    return str(zlib.crc32(f"{user} {item} {at}".encode()))


def write_csv(path: pathlib.Path, events: list[Rating], scored: bool = False) -> str:
    """Writes the 2014 layout; ratings are `score` of the event, or 5.0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        f"{user},{item},{score(user, item, at) if scored else '5.0'},{at}\n"
        for user, item, at in events
    )
    path.write_text("".join(lines))
    return str(path)


def by_beam(settings: Settings, folder: pathlib.Path, *args: str, **sizes: int) -> dict:
    """The job as it is run, in this process; its report."""
    argv = ["--runner=DirectRunner", "--direct_running_mode=in_memory", *args]
    return job.ingest(settings, str(folder), beam.Pipeline(argv=argv), **sizes)


def by_stages(
    settings: Settings, folder: pathlib.Path, range_bytes: int = 1 << 20, buckets: int = 1
) -> dict:
    """The stages of the job one after the other, without Beam's seconds; its plan."""
    for name in (
        "spill",
        "bad_lines",
        "item_counts",
        *(f"Split-{split}" for split in features.SPLITS),
    ):
        os.makedirs(folder / name, exist_ok=True)
    run = stages.Job(settings, str(folder / "spill"), str(folder), buckets, time.time())
    ranges, _ = reading.plan(settings, range_bytes)

    def each(stage: Any, plan: dict, count: int = buckets) -> dict:
        if plan["error"]:
            raise InputError(plan["error"])
        return plans.add_up({"stages": []} | stage(run, part, plan) for part in range(count))

    def regroup(kind: str, plan: dict) -> dict:
        for level in range(1, run.levels.count):
            counts = each(job.Regroup(kind, level), plan, run.levels.ranges(level - 1))
            plan = plans.regrouped(settings, counts, plan)
        return plan

    lines = plans.add_up([{"stages": []}, *(stages.partition(run, part) for part in ranges)])
    plan = regroup("events", plans.check_lines(settings, lines))
    plan = plans.place_edges(settings, each(stages.sort, plan), plan)
    plan = regroup("items", plans.check_splits(settings, each(stages.count, plan), plan))
    pooled = plans.add_up([each(stages.count_items, plan), each(stages.pool, plan)])
    plan = plans.close_pools(settings, pooled, plan)
    return plan | each(shards.write, plan)


def read(folder: pathlib.Path) -> list[Sample]:
    """All examples, sorted."""
    samples = []
    for split in features.SPLITS:
        for path in sorted((folder / f"Split-{split}").iterdir()):
            for record in _records(path):
                samples.append(_sample(split, tf.train.Example.FromString(record)))
    return sorted(samples)


def _records(path: pathlib.Path) -> Iterator[bytes]:
    """By hand: TensorFlow's own reader takes longer to start than these files are long."""
    data = gzip.decompress(path.read_bytes())
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        yield data[at + 12 : at + 12 + length]
        at += length + 16


def _sample(split: str, example: tf.train.Example) -> Sample:
    def texts(name: str) -> list[str]:
        return [v.decode() for v in example.features.feature[name].bytes_list.value]

    def numbers(name: str) -> list[int]:
        return list(example.features.feature[name].int64_list.value)

    (length,) = numbers(features.HISTORY_LENGTH)
    items, times = texts(features.HISTORY_ITEM), numbers(features.HISTORY_TIME)
    assert len(items) == len(times)
    assert all(items[:length])
    assert all(times[:length])
    assert not any(items[length:])
    assert not any(times[length:])
    values = {name: texts(name) for name in sorted(features.of_events(example.features.feature))}
    for of_field in values.values():
        assert len(of_field) == len(items)
        assert not any(of_field[length:])
    return Sample(
        split,
        *texts(features.USER_ID),
        tuple(zip(items[:length], times[:length], strict=True)),
        *texts(features.TARGET_ITEM),
        *numbers(features.TARGET_TIME),
        *numbers(features.LABEL),
        *texts(features.HISTORY_BUCKET),
        *texts(features.TARGET_BUCKET),
        tuple((name, tuple(of_field[:length])) for name, of_field in values.items()),
    )


def by_user(events: list[Rating]) -> dict[str, set[tuple[str, int]]]:
    """Items and times of each user, once each."""
    record = collections.defaultdict(set)
    for user, item, at in events:
        record[user].add((item, at))
    return record
