"""Controls: baselines without the user's history, which show whether the samples leak the label.

An AUC near .50 means that the samples do not leak. A model that does not beat its controls is
broken. Controls are computed from raw Examples, in batches, with ids as 64-bit hashes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from pipeline.evaluation import attribute_controls, loaded, ranking_metrics, shuffled_histories
from pipeline.evaluation.streaming import ItemAggregates, StreamingSet
from pipeline.progress import Progress
from transforms import features

# Names of the controls in JSON, and in words.
NAMES = {
    "popularity": "popularity of the target in training",
    "target_item": "the target's positive rate in training",
    "target_age": "the target's time, from the item's mean time in training",
    "unseen_target": "the target was never seen in training",
    "own_training_windows": "the target is in the user's own training windows",
    "other_users_history": "the model, with another user's history",
    "other_items_attributes": "the model, with the attributes of other items",
    "attribute_similarity": "similarity of attributes to the history, without training",
    "model": "the model itself, on the same sample of rows",
}
_COLUMNS = ("user", "item", "time", "label", "record")
_BATCH = 4096
_HISTORY = features.HISTORY_ITEM
HASHES = 1 << 62  # number of hashes of users and items
# Strength of the prior that shrinks an item's rate towards the mean, in rows.
_PRIOR_ROWS = 2.0
_MODEL_ROWS = 10_000
_SPEC = {
    features.USER_ID: tf.io.FixedLenFeature([], tf.string),
    _HISTORY: tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True),
    features.TARGET_ITEM: tf.io.FixedLenFeature([], tf.string),
    features.TARGET_TIME: tf.io.FixedLenFeature([], tf.int64),
    features.LABEL: tf.io.FixedLenFeature([], tf.int64),
}


class Controls(NamedTuple):
    """The controls, and the rows that the model scored for them.

    Attributes:
      summary: `train_rows`: training rows read. `rows`, `users`, `share_of_users`: test rows and
        users in use. `model_rows`: rows that the model scored. `controls`: `auc` and `gauc` by the
        names in `NAMES`, NaN if one class is missing.
      model_rows: the columns "user", "item", "time", "label", "record", "history" and "score" of
        those rows; no rows without a model.
    """

    summary: dict[str, Any]
    model_rows: dict[str, np.ndarray]


def controls(
    train_files: Sequence[str],
    test_files: Sequence[str],
    model_dir: str | None = None,
    max_rows: int = 200_000,
) -> Controls:
    """Test AUC and GAUC of baselines that see no history, or another user's.

    Reads every training row once and adds it up by item. Keeps at most `max_rows` test rows, of
    whole users chosen by hash, and the items in those users' training windows. The model scores
    at most 10,000 of these rows, twice.

    Args:
      train_files: gzip TFRecord files of raw Examples.
      test_files: the same, of the test split.
      model_dir: a SavedModel with the signature `serving_default`; None omits the
        controls that need a model.
      max_rows: most test rows to use.
    """
    test = UserSample(max_rows)
    for_model = UserSample(min(max_rows, _MODEL_ROWS) if model_dir else 0)
    for batch in read(test_files):
        test.add({name: batch[name] for name in _COLUMNS[:-1]})
        for_model.add({name: batch[name] for name in (*_COLUMNS, "history")})
    items, seen, windows, train_rows = _training(train_files, test.limit)

    rows, model_rows = test.rows(), for_model.rows()
    result = {
        name: _metrics(rows, score) for name, score in _scores(rows, items, seen, windows).items()
    }
    if model_dir:
        records = list(model_rows["record"])
        shuffled = shuffled_histories.histories(model_rows["user"], model_rows["time"], records)
        model = loaded.model(model_dir)
        other, model_rows["score"] = (
            shuffled_histories.scores(model, examples) for examples in (shuffled, records)
        )
        result["other_users_history"] = _metrics(model_rows, other)
        result["model"] = _metrics(model_rows, model_rows["score"])
        if attribute_controls.has_attributes(model_dir):
            by_name = attribute_controls.scores(model_dir, model_rows, HASHES)
            result |= {name: _metrics(model_rows, score) for name, score in by_name.items()}
    summary = {
        "train_rows": train_rows,
        "rows": len(rows["user"]),
        "users": len(np.unique(rows["user"])),
        "share_of_users": test.limit / HASHES,
        "model_rows": len(model_rows["user"]),
        "controls": result,
    }
    return Controls(summary, model_rows)


def table(result: dict[str, Any]) -> str:
    """The controls as lines of text; an undefined number (NaN, or null in JSON) is shown as `-`."""
    lines = [f"{'Controls, on test':<58}{'auc':>8}{'gauc':>8}"]
    for name, metrics in result["controls"].items():
        auc_text, gauc_text = (_text(metrics[metric]) for metric in ("auc", "gauc"))
        lines.append(f"  {NAMES[name]:<56}{auc_text:>8}{gauc_text:>8}")
    return "\n".join(lines)


def _text(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.3f}"


class UserSample:
    """A sample of whole users, chosen by hash so that their rows stay within a bound.

    The choice depends on the rows, not on their order.
    """

    def __init__(self, max_rows: int) -> None:
        self.limit = HASHES
        self._max_rows = max_rows
        self._batches: list[dict[str, np.ndarray]] = []

    def add(self, batch: dict[str, np.ndarray]) -> None:
        """Adds columns `(N,)`; "user" holds hashes."""
        self._batches.append(_chosen(batch, self.limit))
        while sum(len(batch["user"]) for batch in self._batches) > self._max_rows:
            self.limit //= 2
            self._batches = [_chosen(batch, self.limit) for batch in self._batches]

    def rows(self) -> dict[str, np.ndarray]:
        """The columns of the sampled rows, in the order they were added."""
        if not self._batches:
            return {name: np.zeros(0, np.int64) for name in _COLUMNS}
        return {
            name: np.concatenate([batch[name] for batch in self._batches])
            for name in self._batches[0]
        }


def _chosen(batch: dict[str, np.ndarray], limit: int) -> dict[str, np.ndarray]:
    keep = batch["user"] < limit
    return batch if keep.all() else {name: column[keep] for name, column in batch.items()}


def read(files: Sequence[str], rows_alone: bool = False) -> Iterator[dict[str, np.ndarray]]:
    """Batches of columns by name.

    Args:
      files: gzip TFRecord files of raw Examples.
      rows_alone: leaves out "record" and "history", most of the work.

    Yields:
      hashes of "user", "item" and "history" (0 is padding); "time", "label", and "record".
    """
    spec = {name: of for name, of in _SPEC.items() if not rows_alone or name != _HISTORY}

    def parse(records: tf.Tensor) -> dict[str, tf.Tensor]:
        row = tf.io.parse_example(records, spec)
        columns = {
            "user": tf.strings.to_hash_bucket_fast(row[features.USER_ID], HASHES),
            "item": tf.strings.to_hash_bucket_fast(row[features.TARGET_ITEM], HASHES),
            "time": row[features.TARGET_TIME],
            "label": row[features.LABEL],
        }
        if rows_alone:
            return columns
        history = row[_HISTORY]
        hashes = tf.strings.to_hash_bucket_fast(history, HASHES)
        padded = tf.where(tf.equal(history, ""), tf.zeros_like(hashes), hashes)
        return columns | {"record": records, "history": padded}

    if files:
        records = tf.data.TFRecordDataset(list(files), "GZIP", num_parallel_reads=2)
        yield from records.batch(_BATCH).map(parse).prefetch(2).as_numpy_iterator()


def _training(
    files: Sequence[str], limit: int
) -> tuple[ItemAggregates, StreamingSet, StreamingSet, int]:
    """Sums by target item, all items seen, and the (user, item) pairs of chosen users' windows."""
    items, seen, windows, rows = ItemAggregates(), StreamingSet(), StreamingSet(), 0
    with Progress("Evaluator, training rows", 0) as progress:
        for batch in read(files):
            label, history = batch["label"], batch["history"]
            rows += len(label)
            items.add(batch["item"], label, batch["time"])
            seen.add(batch["item"])
            seen.add(history[history != 0])
            positive = np.where(label == 1, batch["item"], 0)[:, None]
            window = np.concatenate([history, positive], axis=1)[batch["user"] < limit]
            user = np.broadcast_to(batch["user"][batch["user"] < limit][:, None], window.shape)
            windows.add(_pairs(user[window != 0], window[window != 0]))
            progress.advance(len(label))
    return items, seen, windows, rows


def _scores(
    rows: dict[str, np.ndarray], items: ItemAggregates, seen: StreamingSet, windows: StreamingSet
) -> dict[str, np.ndarray]:
    """The score `(N,)` of each control that needs no model, by name."""
    known, count, positives, mean_time = items.lookup(rows["item"])
    mean = items.positives / max(items.rows, 1)
    age = -np.abs(rows["time"] - mean_time)
    return {
        "popularity": positives,
        "target_item": (positives + _PRIOR_ROWS * mean) / (count + _PRIOR_ROWS),
        # An item without a time gets the median score.
        "target_age": np.where(known, age, np.median(age[known]) if known.any() else 0.0),
        "unseen_target": (~seen.contains(rows["item"])).astype(np.float64),
        "own_training_windows": windows.contains(_pairs(rows["user"], rows["item"])).astype(
            np.float64
        ),
    }


def _pairs(user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Hashes of (user, item) pairs `(N,)`."""
    return ranking_metrics.mix(
        ranking_metrics.mix(user.astype(np.uint64)) ^ item.astype(np.uint64)
    ).astype(np.int64)


def _metrics(rows: dict[str, np.ndarray], score: np.ndarray) -> dict[str, float]:
    return {
        "auc": ranking_metrics.auc(score, rows["label"]),
        "gauc": ranking_metrics.gauc(rows["user"], score, rows["label"]),
    }
