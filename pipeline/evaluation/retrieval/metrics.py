"""Metrics over the whole catalogue: does the item that came next lie near the top of all items?

Every positive of test asks the exported model for the best items of the catalogue, without
sampled negatives. Two baselines answer the same requests: popularity, and the cosine of items by
the users of training (item-item).

An answer leaves out the items of the history, so a target that repeats is a miss.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.evaluation import controls, loaded
from pipeline.evaluation.eval_config import OVERALL
from pipeline.evaluation.retrieval import baselines
from pipeline.progress import Progress
from transforms import features

RECALLS = (20, 100, 500)
TOP = 10
MAX_RETRIEVED, MAX_RANKED = 20_000, 1_000  # rows of the first stage, and of both stages
# Items that the first stage compares, of all rows together: a minute of one core. It bounds
# the rows of a catalogue with more than 500,000 items.
MAX_COMPARED = 10_000_000_000
# The systems in JSON, and in words.
NAMES = {
    "recommend": "first stage, ranked by the model",
    "first_stage": "first stage alone",
    "popularity": "popularity in training",
    "item_cosine": "cosine of items by their users",
}
SLICES = (features.HISTORY_BUCKET, features.TARGET_BUCKET)
_PARTS = (  # in the order of a table
    *(f"{features.HISTORY_BUCKET}={bucket}" for bucket in features.HISTORY_BUCKETS),
    *(f"{features.TARGET_BUCKET}={bucket}" for bucket in features.TARGET_BUCKETS),
)
_BATCH = 64


def _sequence(kind: tf.DType) -> tf.io.FixedLenSequenceFeature:
    return tf.io.FixedLenSequenceFeature([], kind, allow_missing=True)


_FEATURES = {  # of requests; all others are strings of events
    features.HISTORY_TIME: _sequence(tf.int64),
    features.HISTORY_LENGTH: tf.io.FixedLenFeature([], tf.int64),
}
_POPULAR = 0.01  # share of the training items that count as popular


def has_first_stage(model: Any) -> bool:
    """Whether a loaded SavedModel can search its catalogue."""
    return "recommend" in model.signatures


def evaluate(
    model_dir: str, train_files: Sequence[str], test_files: Sequence[str]
) -> dict[str, Any] | None:
    """Metrics of both stages and of the baselines on test; None for a model without a first stage.

    The first stage answers at most 20,000 rows of whole users, chosen by hash, and fewer if the
    catalogue has more than 500,000 items (`retrieved_rows`); both stages and the baselines answer
    at most 1,000 of these. The model ranks as many items as a request of a few
    items has it rank, also if that is fewer than the largest K.

    Args:
      model_dir: the SavedModel.
      train_files: gzip TFRecord files of raw Examples.
      test_files: the same, of the test split.

    Returns:
      `items`: size of the catalogue. `popular_items`: how many count as popular, and
      `popular_targets`: the share of targets that are. `first_stage`: `rows`, and `recall@K` by
      slice. `systems`: by name in `NAMES`, on the same `rows`: `recall@K`, `ndcg@10`, `hit@10`,
      `mrr`, `coverage@10` and `popular@10`, the latter two overall alone. Each metric is a pair of
      value and standard error over users, but for coverage.
    """
    model = loaded.model(model_dir)
    if not has_first_stage(model):
        return None
    size = int(np.sum(model.catalogue.names.numpy() != b""))  # unknown ids have no name
    rows = _positives(test_files, retrieved_rows(size))
    is_few = _few(rows["user"])
    few = {name: column[is_few] for name, column in rows.items()}
    training = baselines.read(train_files)
    requests = _Requests(model)
    largest = RECALLS[-1]
    retrieved = requests.answers("retrieve", rows, largest)
    answers = {
        "recommend": requests.answers("recommend", few, largest),
        "first_stage": retrieved[is_few],
        "popularity": training.most_popular(few["history"], largest),
        "item_cosine": training.most_similar(few["history"], largest),
    }
    place = _places(retrieved, rows["item"])
    popular = training.popular(_POPULAR)
    return {
        "items": size,
        "popular_items": len(popular),
        "popular_targets": float(np.isin(few["item"], popular).mean()) if len(few["item"]) else 0.0,
        "first_stage": {
            "rows": len(rows["user"]),
            "metrics": _by_slice(rows, _recalls(place)),
        },
        "rows": len(few["user"]),
        "systems": {name: _metrics(answer, few, popular, size) for name, answer in answers.items()},
    }


def retrieved_rows(items: int) -> int:
    """Rows that the first stage answers at most, from a catalogue of some items."""
    return max(MAX_RANKED, min(MAX_RETRIEVED, MAX_COMPARED // max(items, 1)))


class _Requests:
    """Asks a loaded model with the histories of raw Examples."""

    def __init__(self, model: Any) -> None:
        self._model = model  # a signature does not keep the variables alive
        self._candidates = int(model.catalogue.candidates.numpy())

    def answers(self, signature: str, rows: Mapping[str, np.ndarray], k: int) -> np.ndarray:
        """Hashes of the items of each answer `(N, k)`, best first, 0 for none."""
        ask = self._function(signature, k)
        result = np.zeros((len(rows["user"]), k), np.int64)
        with Progress(f"Evaluator, {signature}", len(result), "requests") as progress:
            for start in range(0, len(result), _BATCH):
                records = list(rows["record"][start : start + _BATCH])
                result[start : start + _BATCH] = ask(tf.constant(records, tf.string)).numpy()
                progress.advance(len(records))
        return result

    def _function(self, signature: str, k: int) -> Callable[[tf.Tensor], tf.Tensor]:
        """From serialized Examples `(N,)` to `answers`, all in TensorFlow.

        Called outside of a function, a signature formats its inputs as text before it runs, and
        answers come as objects of Python.
        """
        served = self._model.signatures[signature]
        names = set(served.structured_input_signature[1]) - {"k", "request_time"}
        spec = {name: _FEATURES.get(name, _sequence(tf.string)) for name in names}
        spec |= {features.TARGET_TIME: tf.io.FixedLenFeature([], tf.int64)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def ask(records: tf.Tensor) -> tf.Tensor:
            inputs = tf.io.parse_example(records, spec)
            time = inputs.pop(features.TARGET_TIME)
            number = tf.fill([tf.size(records)], tf.constant(k, tf.int64))
            answer = served(k=number, request_time=time, **inputs)
            shown = answer["items"] != ""
            if "first_stage" in answer:
                shown &= answer["first_stage"] <= self._candidates
            hashes = tf.strings.to_hash_bucket_fast(answer["items"], controls.HASHES)
            # Those that are shown come first, in their order.
            order = tf.argsort(tf.cast(~shown, tf.int32), axis=1, stable=True)
            found = tf.gather(tf.where(shown, hashes, 0), order, axis=1, batch_dims=1)
            return tf.pad(found, [[0, 0], [0, k - tf.shape(found)[1]]])

        return ask


def _positives(files: Sequence[str], max_rows: int) -> dict[str, np.ndarray]:
    """The positives of whole users, as `controls.read` has them, with their slices."""
    sample = controls.UserSample(max_rows)
    for batch in controls.read(files):
        positive = batch["label"] == 1
        columns = {name: column[positive] for name, column in batch.items()}
        sample.add(columns | _slices(columns["record"]))
    return sample.rows() if files else {}


def _slices(records: Sequence[bytes]) -> dict[str, np.ndarray]:
    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in SLICES}
    parsed = tf.io.parse_example(tf.constant(list(records), tf.string, [len(records)]), spec)
    return {name: values.numpy().astype(object) for name, values in parsed.items()}


def _few(users: np.ndarray) -> np.ndarray:
    """Rows of the whole users with the smallest hashes, at most `MAX_RANKED`."""
    order = np.sort(users)
    if len(order) <= MAX_RANKED:
        return np.ones(len(users), bool)
    return users < order[MAX_RANKED]


def _places(answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The place of each target in its answer `(N,)`, from 0; infinity for a miss."""
    hit = answers == targets[:, None]
    return np.where(hit.any(axis=1), hit.argmax(axis=1), np.inf)


def _recalls(place: np.ndarray) -> dict[str, np.ndarray]:
    return {f"recall@{k}": (place < k).astype(np.float64) for k in RECALLS}


def _metrics(
    answers: np.ndarray, rows: Mapping[str, np.ndarray], popular: np.ndarray, size: int
) -> dict[str, Any]:
    place = _places(answers, rows["item"])
    top = place < TOP
    by_row = _recalls(place) | {
        f"ndcg@{TOP}": np.where(top, 1 / np.log2(place + 2), 0.0),
        f"hit@{TOP}": top.astype(np.float64),
        "mrr": np.where(np.isfinite(place), 1 / (place + 1), 0.0),
    }
    shown = answers[:, :TOP]
    result = _by_slice(rows, by_row)
    share = np.isin(shown, popular).sum(axis=1) / np.maximum((shown != 0).sum(axis=1), 1)
    result[OVERALL][f"popular@{TOP}"] = mean(rows["user"], share)
    distinct = np.setdiff1d(np.unique(shown), [0])
    result[OVERALL][f"coverage@{TOP}"] = len(distinct) / max(size, 1)
    return result


def _by_slice(
    rows: Mapping[str, np.ndarray], by_row: Mapping[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Means by slice: overall, by history length and by frequency of the target."""
    parts = {OVERALL: np.ones(len(rows["user"]), bool)}
    for name in SLICES:
        for value in sorted(set(rows[name])):
            parts[f"{name}={value.decode()}"] = rows[name] == value
    return {
        part: {"rows": int(chosen.sum())}
        | {name: mean(rows["user"][chosen], value[chosen]) for name, value in by_row.items()}
        for part, chosen in parts.items()
    }


def mean(users: np.ndarray, values: np.ndarray) -> list[float]:
    """The mean of rows, and its standard error with users as clusters.

    `sqrt(Σ_u (Σ_{r of u} (x_r − mean))²) / N`; rows of one user are not independent.
    """
    if not len(values):
        return [float("nan"), float("nan")]
    average = values.mean()
    _, user = np.unique(users, return_inverse=True)
    sums = np.bincount(user, values - average)
    return [float(average), float(np.sqrt((sums**2).sum()) / len(values))]


def table(result: Mapping[str, Any]) -> str:
    """The systems as lines of text, and both stages by slice with the number of positives."""
    columns = (*(f"recall@{k}" for k in RECALLS), f"ndcg@{TOP}", f"hit@{TOP}", "mrr")
    columns += (f"coverage@{TOP}", f"popular@{TOP}")
    head = f"Whole catalogue, {result['items']:,} items"
    lines = [f"{head:<36}" + "".join(f"{name:>12}" for name in columns)]
    for name in NAMES:
        lines.append(f"  {NAMES[name]:<34}" + _cells(result["systems"][name][OVERALL], columns))
    for name in ("recommend", "first_stage"):
        lines.append(f"{NAMES[name].capitalize()}, by slice and its positives")
        for part in _PARTS:
            if metrics := result["systems"][name].get(part):
                label = f"{part}, {metrics['rows']:,}"
                lines.append(f"  {label:<34}" + _cells(metrics, columns[:-2]))
    return "\n".join(lines)


def _cells(metrics: Mapping[str, Any], columns: Sequence[str]) -> str:
    cells = []
    for name in columns:
        value = metrics.get(name)
        number = value[0] if isinstance(value, list) else value
        cells.append("-" if number is None or np.isnan(number) else f"{number:.4f}")
    return "".join(f"{cell:>12}" for cell in cells)
