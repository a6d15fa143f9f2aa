"""Deals ingested samples out anew: who is scored, and the random split that leaks.

Raw Examples are read once more and written to the split that the protocol of a
table puts them in, or left out; nothing in them is changed.
"""

import json
import os
import shutil
from typing import Any

import numpy as np

from pipeline.configs import Settings
from pipeline.errors import InputError
from transforms import features

_BATCH = 1024


def deal(raw: str, scored: set[bytes], leaking: bool) -> None:
    """Puts every sample below `raw` into its split, a positive and its negatives together.

    Args:
      raw: the folder of `Split-<name>` and `report.json`, which is brought up to date.
      scored: the users whose rows eval and test keep; train keeps everybody.
      leaking: splits the windows of all users at random, 80/10/10: windows overlap,
        so that training has seen what test asks for.

    Raises:
      InputError: where a split has no samples left.
    """
    import tensorflow as tf

    spec = {
        features.USER_ID: tf.io.FixedLenFeature([], tf.string),
        features.TARGET_TIME: tf.io.FixedLenFeature([], tf.int64),
        features.HISTORY_ITEM: tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True),
    }
    dealt = features.SPLITS if leaking else ("eval", "test")
    writers: dict[str, tf.io.TFRecordWriter] = {}
    counts: dict[str, dict[str, Any]] = {}
    for split in dealt:
        os.makedirs(f"{raw}/new-{split}")
        writers[split] = tf.io.TFRecordWriter(f"{raw}/new-{split}/part-0.gz", "GZIP")
        counts[split] = {"samples": 0, "users": set()}
    for split in dealt:
        folder = f"{raw}/Split-{split}"
        files = sorted(os.path.join(folder, name) for name in os.listdir(folder))
        for batch in tf.data.TFRecordDataset(files, "GZIP").batch(_BATCH):
            rows = tf.io.parse_example(batch, spec)
            users = rows[features.USER_ID].numpy()
            places = _random_places(rows) if leaking else np.full(len(users), split)
            for record, user, place in zip(batch.numpy(), users, places, strict=True):
                if place == "train" or user in scored:
                    writers[place].write(record)
                    counts[place]["samples"] += 1
                    counts[place]["users"].add(user)
        shutil.rmtree(folder)
    for split in dealt:
        writers[split].close()
        os.rename(f"{raw}/new-{split}", f"{raw}/Split-{split}")
        if not counts[split]["samples"]:
            raise InputError(
                f"Split {split} has no samples: none of the {len(scored)} users that are scored "
                "has one there. Lower `--min-events`."
            )
    with open(f"{raw}/report.json", encoding="utf-8") as file:
        report = json.load(file)
    report["splits"] |= {
        split: {"samples": count["samples"], "users": len(count["users"])}
        for split, count in counts.items()
    }
    with open(f"{raw}/report.json", "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)


def _random_places(rows: dict[str, Any]) -> np.ndarray:
    """A split for each window by a hash of it, whatever the length its history is cut to.

    User, time and newest event tell windows of a user apart, and are the same for a
    positive and its negatives.
    """
    import tensorflow as tf

    history = rows[features.HISTORY_ITEM]
    newest = tf.math.count_nonzero(tf.not_equal(history, ""), axis=1) - 1
    newest = tf.gather(history, tf.maximum(newest, 0), batch_dims=1)
    times = tf.strings.as_string(rows[features.TARGET_TIME])
    window = tf.strings.join([rows[features.USER_ID], times, newest], "|")
    dealt = tf.strings.to_hash_bucket_fast(window, 10).numpy()
    return np.array(["train"] * 8 + ["eval", "test"])[dealt]


def users_with(settings: Settings, min_events: int) -> set[bytes]:
    """The users who have at least `min_events` wanted ratings.

    Raises:
      InputError: where there are none.
    """
    import pyarrow as pa

    from pipeline.ingest.sources import layout, reading

    users = pa.chunked_array(
        [parsed.events[layout.USER] for parsed in reading.read_all(settings, settings.min_rating)]
    )
    counts = users.value_counts()
    enough = counts.field("counts").to_numpy() >= min_events
    found = set(counts.field("values").filter(pa.array(enough)).to_pylist())
    if not found:
        most = counts.field("counts").to_numpy().max()
        raise InputError(
            f"`--min-events` must leave users to score. Received: {min_events}; the most that a "
            f"user has are {most}."
        )
    return found
