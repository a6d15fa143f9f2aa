"""Splits ingested samples again: which users are scored, and the random split that leaks.

Each raw Example is copied unchanged to its new split, or left out.
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
    """Moves samples to their new splits, a positive and its negatives to the same one.

    Args:
      raw: folder of `Split-<name>` and `report.json`; its report is updated.
      scored: users whose rows stay in eval and test. Train keeps the rows of all users.
      leaking: whether to split the windows of all users at random, 80/10/10. Windows
        overlap, so training has then seen the targets of test.

    Raises:
      InputError: if a split has no samples left.
    """
    import tensorflow as tf

    spec = {
        features.USER_ID: tf.io.FixedLenFeature([], tf.string),
        features.TARGET_TIME: tf.io.FixedLenFeature([], tf.int64),
        features.HISTORY_ITEM: tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True),
    }
    splits = features.SPLITS if leaking else ("eval", "test")
    writers: dict[str, tf.io.TFRecordWriter] = {}
    counts: dict[str, dict[str, Any]] = {}
    for split in splits:
        os.makedirs(f"{raw}/new-{split}")
        writers[split] = tf.io.TFRecordWriter(f"{raw}/new-{split}/part-0.gz", "GZIP")
        counts[split] = {"samples": 0, "users": set()}
    for split in splits:
        folder = f"{raw}/Split-{split}"
        files = sorted(os.path.join(folder, name) for name in os.listdir(folder))
        for batch in tf.data.TFRecordDataset(files, "GZIP").batch(_BATCH):
            rows = tf.io.parse_example(batch, spec)
            users = rows[features.USER_ID].numpy()
            new_splits = _random_splits(rows) if leaking else np.full(len(users), split)
            for record, user, new_split in zip(batch.numpy(), users, new_splits, strict=True):
                if new_split == "train" or user in scored:
                    writers[new_split].write(record)
                    counts[new_split]["samples"] += 1
                    counts[new_split]["users"].add(user)
        shutil.rmtree(folder)
    for split in splits:
        writers[split].close()
        os.rename(f"{raw}/new-{split}", f"{raw}/Split-{split}")
        if not counts[split]["samples"]:
            raise InputError(
                f"Split {split} has no samples: none of the {len(scored)} scored users has any "
                "there. Lower `--min-events`."
            )
    with open(f"{raw}/report.json", encoding="utf-8") as file:
        report = json.load(file)
    report["splits"] |= {
        split: {"samples": count["samples"], "users": len(count["users"])}
        for split, count in counts.items()
    }
    with open(f"{raw}/report.json", "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)


def _random_splits(rows: dict[str, Any]) -> np.ndarray:
    """The split of each row, by a hash of its window.

    The hash takes user, time and newest event of the history. They differ between the windows
    of a user. They are the same for a positive and its negatives, and for every history length.
    """
    import tensorflow as tf

    history = rows[features.HISTORY_ITEM]
    newest = tf.math.count_nonzero(tf.not_equal(history, ""), axis=1) - 1
    newest = tf.gather(history, tf.maximum(newest, 0), batch_dims=1)
    times = tf.strings.as_string(rows[features.TARGET_TIME])
    window = tf.strings.join([rows[features.USER_ID], times, newest], "|")
    tenths = tf.strings.to_hash_bucket_fast(window, 10).numpy()
    return np.array(["train"] * 8 + ["eval", "test"])[tenths]


def users_with(settings: Settings, min_events: int) -> set[bytes]:
    """The users with at least `min_events` ratings of `min_rating` or more.

    Raises:
      InputError: if there are none.
    """
    import pyarrow as pa

    from pipeline.ingest.sources import layout, reading

    users = pa.chunked_array(
        [parsed.events[layout.USER] for parsed in reading.read_all(settings, settings.min_rating)]
    )
    counts = users.value_counts()
    events = counts.field("counts").to_numpy()
    selected = set(counts.field("values").filter(pa.array(events >= min_events)).to_pylist())
    if not selected:
        raise InputError(
            f"`--min-events` must leave users to score. Received: {min_events}; no user has more "
            f"than {events.max()}."
        )
    return selected
