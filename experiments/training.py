"""One run: a model, trained with one seed on shared samples, and scored on test.

The pipeline's training loop trains it. An interrupted run resumes from its checkpoint. The result
is a JSON file. TensorBoard's events of all runs lie in the folder `logs` beside the results:
`make board LOGS=FOLDER` shows them, with a row for each run in the tab HParams.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
import traceback
from typing import Any

import numpy as np

from experiments import cache
from experiments.sampling.samples import Samples
from model import presets
from model.calibration import Calibration
from pipeline.evaluation import ranking_metrics

_CONTROL_ROWS = 10_000
_BATCH = 1024
# Slices of the test rows by the events of their target in training: name, least, most.
TARGET_EVENTS = (("0", 0, 0), ("1 to 4", 1, 4), ("5 to 19", 5, 19), ("20 or more", 20, None))


@dataclasses.dataclass(frozen=True)
class Run:
    """A preset, the changes to it, and a seed."""

    name: str  # name of the row in the table
    model: str
    options: str = ""
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0

    def key(self, samples: Samples) -> str:
        """A digest of samples, settings and seed, but not of the code; it names the result."""
        config, recipe = presets.resolve(self.model, self.options, self.recipe)
        settings = samples.settings
        content: dict[str, Any] = {
            "samples": samples.digest,
            "model": presets.preset(self.model).config,
            "config": config.to_dict(),
            "recipe": recipe.to_dict(),
            "use_time": settings.use_time,
            "use_position": settings.use_position,
            "seed": self.seed,
        }
        # Without items, keys stay the same as before there were items.
        if settings.items:
            content["use_ids"] = settings.use_ids
        else:
            del content["config"]["attributes"], content["recipe"]["id_dropout"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def code() -> str:
    """Twelve digits of SHA-256 over the sources that train and score a run."""
    sources = ("model/**/*.py", "transforms/**/*.py", "pipeline/ingest/**/*.py")
    return cache.code(
        *sources,
        "pipeline/evaluation/ranking_metrics.py",
        "experiments/runs.py",
        "experiments/training.py",
    )


def new_ranker(run: Run, samples: Samples) -> tuple[Any, Any, dict[str, Any]]:
    """A new ranker for a run, its training config, and the features to parse."""
    import tensorflow as tf
    import tensorflow_transform as tft

    from model import trainer
    from model.ranker import build_ranker
    from model.scorer import DataSpec
    from transforms import features, item_attributes
    from transforms.item_ids import ItemIds

    transform = tft.TFTransformOutput(samples.graph)
    settings = samples.settings
    vocabulary = transform.vocabulary_size_by_name(features.ITEM_VOCABULARY)
    attributes = item_attributes.of_transform_graph(samples.graph, settings.oov_buckets)
    inputs = DataSpec(
        ItemIds(settings.oov_buckets, vocabulary).first_new,
        settings.max_history_length,
        settings.use_time,
        settings.use_position,
        settings.use_ids,
        attributes.sizes if attributes else {},
        trainer.event_values(transform, settings.event_fields),
    )
    config, recipe = presets.resolve(run.model, run.options, run.recipe)
    tf.keras.utils.set_random_seed(run.seed)
    ranker = build_ranker(config, inputs, recipe, run.seed, attributes)
    return ranker, recipe, transform.transformed_feature_spec()


def train(run: Run, samples: Samples, path: str, work: str) -> None:
    """Trains and scores a run in this process, unless its result exists.

    What it prints goes to `path`.log, which is removed if the run succeeds.

    Args:
      run: the run.
      samples: its samples.
      path: file of the result; written completely or not at all.
      work: folder of checkpoints and locks.
    """
    os.makedirs(work, exist_ok=True)
    lock_path = os.path.join(work, f"{run.key(samples)}.lock")
    with open(lock_path, "w") as lock, open(f"{path}.log", "a", buffering=1) as log:
        # Another command may train the same run in the same folder.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(path):
            return
        sys.stdout = log
        try:
            _train_and_score(run, samples, path, work)
        except Exception:
            traceback.print_exc(file=log)
            raise
    os.remove(f"{path}.log")


def _train_and_score(run: Run, samples: Samples, path: str, work: str) -> None:
    import tensorflow as tf

    from model import trainer
    from model.training.loop import Training
    from model.training.summaries.board import Shown
    from model.training.summaries.items import ItemNames
    from transforms.item_ids import ItemIds

    start = time.monotonic()
    key, version = run.key(samples), code()
    # The folder belongs to this version of the code: another version starts again.
    folder = os.path.join(work, f"{key}-{version}")
    ranker, recipe, spec = new_ranker(run, samples)
    description = {
        "config": ranker.config.to_dict(),
        "recipe": recipe.to_dict(),
        "seed": run.seed,
        "train": samples.digest,
    }
    training = Training(
        ranker,
        recipe,
        samples.transformed("train"),
        samples.transformed("eval"),
        spec,
        folder,
        os.path.join(os.path.dirname(path), "logs", f"{run.model}-{key}"),
        tf.distribute.get_strategy(),
        Shown(
            trainer.hparams(run.model, description),
            ItemNames(samples.graph, samples.settings.oov_buckets),
        ),
    )
    state = training.run()
    seconds = time.monotonic() - start
    ranker.weights_checkpoint().read(training.best).expect_partial()
    ranker.calibration = Calibration(*state.evaluations[state.best]["calibration"])
    test_metrics = score(
        ranker,
        samples.test(),
        samples.training_events(),
        ItemIds(samples.settings.oov_buckets, 0).first_known,
    )
    best = state.evaluations[state.best]
    result = {
        "key": key,
        **dataclasses.asdict(run),
        "config": ranker.config.to_dict(),
        "recipe": recipe.to_dict(),
        "code": version,
        "eval_auc": best["eval_auc"],
        "epoch": round(best["step"] / training.steps_per_epoch, 2),
        "seconds": round(seconds),
        **test_metrics,
    }
    unfinished = f"{path}.unfinished"
    with open(unfinished, "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.replace(unfinished, path)
    shutil.rmtree(folder, ignore_errors=True)


def score(
    ranker: Any, test: dict[str, np.ndarray], target_events: np.ndarray, first_known: int = 0
) -> dict[str, Any]:
    """Metrics of a trained ranker on the test rows, with bootstrap replicates.

    Scores are not calibrated, but for `calibrated_logloss`. Includes `other_users_history`: the AUC
    on a sample of rows with another user's history; `unseen_auc`, of the rows whose target has no
    id of its own; and `by_target_events`, the metrics of slices.

    Args:
      ranker: with the weights to score.
      test: arrays of `Samples.test`.
      target_events: of `Samples.training_events`.
      first_known: the first id of the vocabulary.
    """
    import tensorflow as tf

    from transforms import features

    names = (*features.of_each_event(test), features.HISTORY_LENGTH)
    predict = tf.function(ranker.score_by_length, autograph=False, reduce_retracing=True)

    def probabilities(rows: dict[str, np.ndarray]) -> np.ndarray:
        parts = []
        for start in range(0, len(rows[features.LABEL]), _BATCH):
            batch = slice(start, start + _BATCH)
            inputs = {name: tf.constant(rows[name][batch]) for name in names}
            target = tf.constant(rows[features.TARGET_ITEM][batch].reshape(-1, 1))
            parts.append(tf.sigmoid(predict(inputs, target)).numpy()[:, 0])
        return np.concatenate(parts)

    user, label = test["user"].astype(np.uint64), test[features.LABEL].reshape(-1)
    scores, target = probabilities(test), test[features.TARGET_ITEM].reshape(-1)
    metrics = ranking_metrics.ranking_metrics(user, scores, label)
    unseen = (target < first_known) | (target >= ranker.encoder.num_items)
    logits = np.log(np.clip(scores, 1e-7, 1 - 1e-7)) - np.log1p(-np.clip(scores, 1e-7, 1 - 1e-7))
    calibrated = ranker.probabilities(tf.constant(logits)).numpy()
    metrics["calibrated_logloss"] = float(ranking_metrics.row_log_loss(calibrated, label).mean())
    metrics["unseen_auc"] = ranking_metrics.auc(scores[unseen], label[unseen])
    metrics["by_target_events"] = by_target_events(user, scores, label, target_events)
    # Each sampled row gets the history of the row half-way round, almost always another user's.
    sample = np.random.default_rng(0).permutation(len(label))[:_CONTROL_ROWS]
    exchanged = {name: values[sample] for name, values in test.items()}
    exchanged |= {name: np.roll(exchanged[name], len(sample) // 2, axis=0) for name in names}
    exchanged_auc = ranking_metrics.auc(probabilities(exchanged), label[sample])
    replicates = {
        name: np.round(metrics.pop(name), 6).tolist()
        for name in ("auc_replicates", "gauc_replicates")
    }
    return {**metrics, "other_users_history": exchanged_auc, **replicates}


def by_target_events(
    user: np.ndarray, scores: np.ndarray, label: np.ndarray, events: np.ndarray
) -> dict[str, dict[str, float]]:
    """Rows, AUC and GAUC by how often training saw the target; NaN where a metric is undefined.

    Args:
      user: hashes `(N,)`.
      scores: `(N,)`.
      label: `(N,)`.
      events: events of training that have the target of each row, `(N,)`.
    """
    result = {}
    for name, least, most in TARGET_EVENTS:
        rows = (events >= least) & (events <= (np.inf if most is None else most))
        result[name] = {
            "rows": int(rows.sum()),
            "auc": ranking_metrics.auc(scores[rows], label[rows]),
            "gauc": ranking_metrics.gauc(user[rows], scores[rows], label[rows]),
        }
    return result
