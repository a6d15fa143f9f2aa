"""The last stage: writes windows and negatives of a bucket as shards of Examples."""

import functools
import itertools
import os
import uuid

import numpy as np
import pyarrow as pa
from tfx.dsl.io import fileio

from pipeline.ingest import (
    arrow_files,
    example_encoder,
    hashing,
    histories,
    negatives,
    tfrecord_writer,
)
from pipeline.ingest.stages import Job, Tally
from transforms import features

_SAMPLE = 5  # separates the keys of samples from other hashes
_PLACES = 1 << 16  # history positions encoded at once: a few hundred kilobytes


def write(job: Job, bucket: int, plan: Tally) -> Tally:
    """Cuts the windows of a bucket, draws negatives and writes one shard of each split."""
    events, _, targets = job.targets(bucket, plan)
    row = targets.row
    pools = _pools(job, tuple(plan["groups"]), plan["pooled_items"])
    item_hash = hashing.hash_strings(events.items)
    drawn, widened = _draw(
        job, events, targets, item_hash, pools, job.groups(events, targets, plan)
    )
    served = (drawn >= 0).all(axis=0)

    length = histories.last_lengths(events, targets)
    history_bucket = np.searchsorted(np.array(plan["length_bounds"]), length, side="right")
    # The part of a sample after the history, once for each item of targets and of negatives.
    own, own_at = np.unique(events.item[row], return_inverse=True)
    other, other_at = np.unique(drawn[:, served], return_inverse=True)
    seen = _target_buckets(job, np.concatenate([item_hash[own], pools.hashes[other]]))
    positive = example_encoder.targets(events.items.take(pa.array(own)), seen[: len(own)], 1)
    negative = example_encoder.targets(pools.items.take(pa.array(other)), seen[len(own) :], 0)
    others_at = np.zeros(drawn.shape, np.int64)
    others_at[:, served] = other_at.reshape(len(drawn), -1)

    encoder = example_encoder.Encoder(
        events.users,
        events.items.take(pa.array(events.item)),
        events.time,
        job.settings.max_history_length,
        {name: values.dictionary_decode() for name, values in events.values.items()},
    )
    tally: Tally = {"widened": widened, "without_negative": int((~served).sum())}
    for number, name in enumerate(features.SPLITS):
        chosen = np.flatnonzero((targets.split == number) & served)
        user = events.user[row[chosen]]
        tally[name] = {
            "positives": len(chosen),
            "samples": len(chosen) * (1 + len(drawn)),
            "users": len(np.unique(user)),
        }
        if not len(chosen):
            continue
        temporary = job.path("shard", uuid.uuid4().hex)
        step = max(1, _PLACES // job.settings.max_history_length)
        with tfrecord_writer.Writer(temporary) as writer:
            for part in np.split(chosen, range(step, len(chosen), step)):
                encoded = encoder.histories(
                    events.user[row[part]],
                    targets.begin[part],
                    targets.end[part],
                    row[part],
                    history_bucket[part],
                )
                samples = [_samples(encoded, positive, own_at[part])]
                samples += [_samples(encoded, negative, at) for at in others_at[:, part]]
                writer.write(list(itertools.chain.from_iterable(zip(*samples, strict=True))))
        shard = f"data_tfrecord-{bucket:05}-of-{job.buckets:05}.gz"
        fileio.rename(temporary, os.path.join(job.output, f"Split-{name}", shard), overwrite=True)
    return tally


def _samples(histories: list[bytes], endings: list[bytes], at: np.ndarray) -> list[bytes]:
    return example_encoder.examples(histories, list(map(endings.__getitem__, at.tolist())))


def _draw(
    job: Job,
    events: histories.Events,
    targets: histories.Targets,
    item_hash: np.ndarray,
    pools: negatives.Pools,
    group: np.ndarray,
) -> tuple[np.ndarray, int]:
    """Rows of the negatives in the pools, (negatives, T), and how many left their block."""
    settings = job.settings
    user_hash = hashing.hash_strings(events.users)
    record = np.sort(hashing.mix(user_hash[events.user], item_hash[events.item]))
    user, item = user_hash[events.user[targets.row]], item_hash[events.item[targets.row]]
    time = events.time[targets.row]
    drawn = np.empty((settings.negatives_per_positive, len(user)), np.int64)
    widened = 0
    for k in range(len(drawn)):
        key = hashing.mix(settings.sampling_seed, _SAMPLE, user, item, time, k)
        drawn[k], beyond = negatives.draw(pools, group, key, user, record)
        widened += beyond
    return drawn, widened


def _target_buckets(job: Job, hashes: np.ndarray) -> np.ndarray:
    """Index in `features.TARGET_BUCKETS` of each item, by the hash of its id."""
    known, bucket_of = _items(job)
    found = negatives.contains(known, hashes)
    buckets = np.full(len(hashes), _target_bucket(np.zeros(1))[0], np.int64)
    buckets[found] = bucket_of[np.searchsorted(known, hashes[found])]
    return buckets


@functools.lru_cache(maxsize=1)
def _items(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Sorted hashes of the training items and the bucket of each: 9 bytes an item.

    Read once for each process, because the items of a bucket are in files of all hashes.
    """
    tables = [arrow_files.read(job.path("counted", part)) for part in range(job.buckets)]
    # The parts are ranges of hashes, in order.
    known = np.concatenate([table["hash"].to_numpy() for table in tables])
    return known, np.concatenate([_target_bucket(table["count"].to_numpy()) for table in tables])


def _target_bucket(count: np.ndarray) -> np.ndarray:
    bucket = np.searchsorted(features.TARGET_BUCKET_BOUNDS, count, side="right") - 1
    return bucket.astype(np.int8)


@functools.lru_cache(maxsize=1)
def _pools(job: Job, groups: tuple[int, ...], items: int) -> negatives.Pools:
    """The pools, read once for each process."""
    numbers = range(job.buckets)
    if job.settings.negatives != "uniform":
        table = pa.concat_tables([arrow_files.read(job.path("pool", number)) for number in numbers])
        return negatives.build_pools(table, list(groups))
    bound = hashing.threshold(negatives.POOL, items)
    tables = []
    for number in numbers:
        table = arrow_files.read(job.path("counted", number))
        place = negatives.pool_places(job.settings.sampling_seed, table["hash"].to_numpy())
        chosen = table.filter(pa.array(place <= bound))
        columns = [
            pa.array(np.zeros(len(chosen), np.int32)),
            pa.array(place[place <= bound]),
            chosen["hash"],
            chosen["item"],
        ]
        tables.append(pa.table(columns, schema=negatives.POOL_SCHEMA))
    return negatives.build_pools(pa.concat_tables(tables), list(groups))
