"""A run: one model, trained with one seed on shared samples, and scored on test.

The pipeline's training loop trains each run in its own process. The result is stored as JSON; an
interrupted training resumes from its checkpoint. Results are named by their content, so that tables
share runs.
"""

import dataclasses
import fcntl
import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments import cache
from experiments.samples import Samples
from model import presets
from pipeline.evaluation import ranking_metrics

_CONTROL_ROWS = 10_000
_BATCH = 1024


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
        content = {
            "samples": samples.digest,
            "model": presets.preset(self.model).config,
            "config": config.to_dict(),
            "recipe": recipe.to_dict(),
            "use_time": settings.use_time,
            "use_position": settings.use_position,
            "seed": self.seed,
        }
        if settings.items:  # keys from before there were items stay
            content["use_ids"] = settings.use_ids
        else:
            del content["config"]["attributes"], content["recipe"]["id_dropout"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def run(
    runs: Sequence[Run],
    samples: Samples,
    folder: str,
    work: str,
    jobs: int = 1,
    log: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """The results of all runs; trains only those without a stored result.

    Args:
      runs: the runs.
      samples: the samples of all runs.
      folder: folder of the results, one JSON file for each run.
      work: folder of checkpoints.
      jobs: number of runs in parallel.
      log: called with each line of progress.

    Raises:
      RuntimeError: if a run fails; the results of the others are stored.
    """
    os.makedirs(folder, exist_ok=True)
    paths = [f"{folder}/{run.key(samples)}.json" for run in runs]
    by_path = dict(zip(paths, runs, strict=True))
    waiting = [(run, path) for path, run in by_path.items() if not os.path.exists(path)]
    done = len(runs) - len(waiting)
    log(f"{done} of {len(runs)} runs are done, {len(waiting)} to train.")
    context = multiprocessing.get_context("spawn")
    running: dict[Any, tuple[Run, str, float]] = {}
    failed = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                run, path = waiting.pop(0)
                process = context.Process(target=_train, args=(run, samples, path, work))
                process.start()
                running[process] = (run, path, time.monotonic())
            multiprocessing.connection.wait([process.sentinel for process in running])
            for process in [process for process in running if not process.is_alive()]:
                run, path, start = running.pop(process)
                process.join()
                if not os.path.exists(path):
                    failed.append(f"{run.name}, seed {run.seed}")
                    log(f"FAILED {failed[-1]}; its error is above and in {path}.log")
                    continue
                done, result = done + 1, _stored(path, run)
                log(
                    f"{done}/{len(runs)} {run.name} seed {run.seed}: eval "
                    f"{result['eval_auc']:.4f}, test {result['auc']:.4f}, gauc "
                    f"{result['gauc']:.4f}, {time.monotonic() - start:.0f} s"
                )
    finally:
        for process in running:
            process.terminate()
    if failed:
        raise RuntimeError(
            f"These runs failed: {'; '.join(failed)}. The results of the others are stored."
        )
    return [_stored(path, run) for run, path in zip(runs, paths, strict=True)]


def share_cores(jobs: int) -> None:
    """Gives each of `jobs` parallel trainings its share of the cores."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(threads)


def _stored(path: str, cell: Run) -> dict[str, Any]:
    """A stored result, with the name of this run."""
    with open(path, encoding="utf-8") as file:
        return {**json.load(file), "name": cell.name}


def ranker_and_files(cell: Run, samples: Samples) -> tuple[Any, Any, dict[str, Any]]:
    """A new ranker for a run, its training config, and the features to parse."""
    import tensorflow as tf
    import tensorflow_transform as tft

    from model import item_attributes
    from model.ranker import DataSpec, build_ranker
    from transforms import features
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
    )
    config, recipe = presets.resolve(cell.model, cell.options, cell.recipe)
    tf.keras.utils.set_random_seed(cell.seed)
    ranker = build_ranker(config, inputs, recipe, cell.seed, attributes)
    return ranker, recipe, transform.transformed_feature_spec()


def _train(cell: Run, samples: Samples, path: str, work: str) -> None:
    """Trains and scores a run; writes its result completely or not at all."""
    os.makedirs(work, exist_ok=True)
    lock = os.path.join(work, f"{cell.key(samples)}.lock")
    with open(lock, "w") as held, open(f"{path}.log", "a", buffering=1) as log:
        # Another command may train the same run in the same folder.
        fcntl.flock(held, fcntl.LOCK_EX)
        if os.path.exists(path):
            return
        sys.stdout = log
        try:
            _train_and_score(cell, samples, path, work)
        except Exception:
            traceback.print_exc(file=log)
            raise
    os.remove(f"{path}.log")


def _train_and_score(cell: Run, samples: Samples, path: str, work: str) -> None:
    import tensorflow as tf

    from model.training.loop import Training

    start = time.monotonic()
    key, made_by = cell.key(samples), code()
    # Other code starts again instead of resuming.
    folder = os.path.join(work, f"{key}-{made_by}")
    ranker, recipe, spec = ranker_and_files(cell, samples)
    training = Training(
        ranker,
        recipe,
        samples.transformed("train"),
        samples.transformed("eval"),
        spec,
        folder,
        os.path.join(folder, "logs"),
        tf.distribute.get_strategy(),
    )
    state = training.run()
    seconds = time.monotonic() - start
    ranker.weights_checkpoint().read(training.best).expect_partial()
    scored = score(ranker, samples.test())
    best = state.evaluations[state.best]
    result = {
        "key": key,
        **dataclasses.asdict(cell),
        "config": ranker.config.to_dict(),
        "recipe": recipe.to_dict(),
        "code": made_by,
        "eval_auc": best["eval_auc"],
        "epoch": round(best["step"] / training.steps_per_epoch, 2),
        "seconds": round(seconds),
        **scored,
    }
    unfinished = f"{path}.unfinished"
    with open(unfinished, "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.replace(unfinished, path)
    shutil.rmtree(folder, ignore_errors=True)


def score(ranker: Any, test: dict[str, np.ndarray]) -> dict[str, Any]:
    """Metrics of a trained ranker on the test rows, with bootstrap replicates.

    Includes `other_users_history`: the AUC on a sample of rows with another user's history.
    """
    import tensorflow as tf

    from transforms import features

    names = (features.HISTORY_ITEM, features.HISTORY_ELAPSED, features.HISTORY_LENGTH)
    predict = tf.function(ranker.score_by_length, autograph=False, reduce_retracing=True)

    def probabilities(rows: dict[str, np.ndarray]) -> np.ndarray:
        parts = []
        for at in range(0, len(rows[features.LABEL]), _BATCH):
            inputs = {name: tf.constant(rows[name][at : at + _BATCH]) for name in names}
            target = tf.constant(rows[features.TARGET_ITEM][at : at + _BATCH].reshape(-1, 1))
            parts.append(tf.sigmoid(predict(inputs, target)).numpy()[:, 0])
        return np.concatenate(parts)

    user, label = test["user"].astype(np.uint64), test[features.LABEL].reshape(-1)
    metrics = ranking_metrics.ranking_metrics(user, probabilities(test), label)
    # The history of a row half-way round, which almost always belongs to another user.
    sample = np.random.default_rng(0).permutation(len(label))[:_CONTROL_ROWS]
    exchanged = {name: values[sample] for name, values in test.items()}
    exchanged |= {name: np.roll(exchanged[name], len(sample) // 2, axis=0) for name in names}
    other = ranking_metrics.auc(probabilities(exchanged), label[sample])
    replicates = {
        name: np.round(metrics.pop(name), 6).tolist()
        for name in ("auc_replicates", "gauc_replicates")
    }
    return {**metrics, "other_users_history": other, **replicates}


def provenance(done: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The versions of the code that trained some runs, and whether they are this one."""
    versions = sorted({cell["code"] for cell in done})
    return {"code": versions, "trained_by_this_code": versions == [code()]}


def code() -> str:
    """Twelve digits of SHA-256 over the sources that train and score a run."""
    sources = ("model/**/*.py", "transforms/**/*.py", "pipeline/ingest/**/*.py")
    return cache.code(*sources, "pipeline/evaluation/ranking_metrics.py", "experiments/runs.py")
