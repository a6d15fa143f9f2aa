"""The naive ingestion job: one Beam element for each rating, then one for each user.

The ingestion benchmark compares it with `pipeline.ingest`. Both write the same Examples, because
`naive_choices.py` repeats the choices of ingestion. It reads only the layout of Amazon 2014.
"""

import bisect
import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf

from benchmarks.ingestion import naive_choices as choices
from benchmarks.ingestion.naive_choices import DAY, Event, hash_text, mix
from pipeline.configs import Settings
from pipeline.ingest import histories
from transforms import features

_FIRST_TIME = 788_918_400  # 1995-01-01, in seconds


def run(settings: Settings, output: str, pipeline: beam.Pipeline, now: float) -> None:
    """Writes the splits of `settings.ratings` under `output`."""
    users = (
        pipeline
        | beam.io.ReadFromText(settings.ratings)
        | "Parse" >> beam.FlatMap(parse, settings.min_rating, now)
        | "Group by user" >> beam.GroupByKey()
        | "Sort" >> beam.Map(choices.sort_events, settings.sampling_seed)
    )
    edges = beam.pvalue.AsSingleton(
        users
        | "Days" >> beam.FlatMap(lambda user: [event[0] // DAY for event in user[1]])
        | "Count days" >> beam.combiners.Count.PerElement()
        | "All days" >> beam.combiners.ToDict()
        | "Edges" >> beam.Map(histories.boundaries, settings.eval_share, settings.test_share)
    )
    targets = users | "Targets" >> beam.Map(choices.choose_targets, settings, edges)
    blocks = beam.pvalue.AsSingleton(
        targets
        | "Target days"
        >> beam.FlatMap(lambda user: [(split, user[1][row][0] // DAY) for row, split in user[2]])
        | "Count target days" >> beam.combiners.Count.PerElement()
        | "All target days" >> beam.combiners.ToDict()
        | "Blocks" >> beam.Map(choices.time_blocks)
    )
    bounds = beam.pvalue.AsSingleton(
        targets
        | "Lengths" >> beam.FlatMap(choices.training_length, settings)
        | "Count lengths" >> beam.combiners.Count.PerElement()
        | "All lengths" >> beam.combiners.ToDict()
        | "Bounds" >> beam.Map(histories.length_bounds)
    )
    seen = beam.pvalue.AsDict(
        targets
        | "Training items"
        >> beam.FlatMap(
            lambda user: [
                event[2] for event, split in zip(user[1], user[3], strict=True) if split == 0
            ]
        )
        | "Count items" >> beam.combiners.Count.PerElement()
    )
    pools = beam.pvalue.AsSingleton(
        targets
        | "Candidates" >> beam.FlatMap(choices.pool_candidates, settings, blocks)
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
        if float(rating) >= min_rating and _FIRST_TIME <= int(time) <= now + DAY and user and item:
            yield user, (item, int(time))
    except ValueError:
        return


class Samples(beam.DoFn):
    """Builds the Examples of a user: windows, negatives, features."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def process(
        self, user: tuple, blocks: list, bounds: tuple[int, int], seen: dict, pools: dict
    ) -> Iterator[Any]:
        """Beam calls this function for each user."""
        settings = self._settings
        name, events, targets, _ = user
        record = {event[2] for event in events}
        lengths = choices.last_lengths(user, settings)
        for row, split in targets:
            time, _, item, _ = events[row]
            end = choices.history_end(events, row, settings)
            history = events[max(0, end - settings.max_history_length) : end]
            block = bisect.bisect(blocks[split][0], time // DAY) - 1
            pool = pools[(split, block)]
            drawn = []
            for number in range(settings.negatives_per_positive):
                hashes = hash_text(name), hash_text(item)
                key = mix(settings.sampling_seed, 5, *hashes, time, number)
                drawn.append(choices.draw_negative(key, pool, record, split, pools))
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


def _bytes(values: list[bytes]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _ints(values: list[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
