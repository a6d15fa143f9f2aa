"""One cell of a table: one system trained on shared samples with one seed, and scored.

A cell is trained by the pipeline's own loop, in a process of its own, and kept
as JSON when it is done; a training that was stopped goes on from its checkpoint.
Cells are kept by what they are, so that what one table has trained is there for the next.
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
    """What is trained: a row of the table of models, what differs from it, and a seed."""

    name: str  # of the row in the table
    model: str
    options: str = ""
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0

    def key(self, samples: Samples) -> str:
        """What says whether a kept result is this cell's: samples, settings, seed; not the code."""
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
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def run(
    cells: Sequence[Run],
    samples: Samples,
    folder: str,
    work: str,
    jobs: int = 1,
    tell: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Results of all cells, those that are kept under `folder` without training.

    Args:
      cells: what to train.
      samples: shared by all.
      folder: where results are kept, a JSON file a cell.
      work: where trainings keep their checkpoints.
      jobs: cells trained at once.
      tell: called with a line of progress.

    Raises:
      RuntimeError: for a cell whose process failed; the others are kept.
    """
    os.makedirs(folder, exist_ok=True)
    paths = [f"{folder}/{cell.key(samples)}.json" for cell in cells]
    found = dict(zip(paths, cells, strict=True))
    waiting = [(cell, path) for path, cell in found.items() if not os.path.exists(path)]
    done = len(cells) - len(waiting)
    tell(f"{done} of {len(cells)} cells are there, {len(waiting)} to train.")
    context = multiprocessing.get_context("spawn")
    running: dict[Any, tuple[Run, str, float]] = {}
    failed = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell, path = waiting.pop(0)
                process = context.Process(target=_train, args=(cell, samples, path, work))
                process.start()
                running[process] = (cell, path, time.monotonic())
            multiprocessing.connection.wait([process.sentinel for process in running])
            for process in [process for process in running if not process.is_alive()]:
                cell, path, start = running.pop(process)
                process.join()
                if not os.path.exists(path):
                    failed.append(f"{cell.name}, seed {cell.seed}")
                    tell(f"FAILED {failed[-1]}; its error is above and in {path}.log")
                    continue
                done, result = done + 1, _kept(path, cell)
                tell(
                    f"{done}/{len(cells)} {cell.name} seed {cell.seed}: eval "
                    f"{result['eval_auc']:.4f}, test {result['auc']:.4f}, gauc "
                    f"{result['gauc']:.4f}, {time.monotonic() - start:.0f} s"
                )
    finally:
        for process in running:
            process.terminate()
    if failed:
        raise RuntimeError(f"These cells failed: {'; '.join(failed)}. The others are kept.")
    return [_kept(path, cell) for cell, path in zip(cells, paths, strict=True)]


def share_cores(jobs: int) -> None:
    """Gives each of `jobs` trainings at once its share of the machine's cores."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(threads)


def _kept(path: str, cell: Run) -> dict[str, Any]:
    """A kept result, under the name that the table at hand gives it."""
    with open(path, encoding="utf-8") as file:
        return {**json.load(file), "name": cell.name}


def ranker_and_files(cell: Run, samples: Samples) -> tuple[Any, Any, dict[str, Any]]:
    """A fresh ranker of a cell, its recipe, and the features to parse."""
    import tensorflow as tf
    import tensorflow_transform as tft

    from model.ranker import DataSpec, build_ranker
    from transforms import features

    transform = tft.TFTransformOutput(samples.graph)
    settings = samples.settings
    items = 1 + settings.oov_buckets
    items += transform.vocabulary_size_by_name(features.ITEM_VOCABULARY)
    inputs = DataSpec(items, settings.max_history_length, settings.use_time, settings.use_position)
    config, recipe = presets.resolve(cell.model, cell.options, cell.recipe)
    tf.keras.utils.set_random_seed(cell.seed)
    ranker = build_ranker(config, inputs, recipe, cell.seed)
    return ranker, recipe, transform.transformed_feature_spec()


def _train(cell: Run, samples: Samples, path: str, work: str) -> None:
    """Trains and scores a cell; writes its result at once or not at all."""
    os.makedirs(work, exist_ok=True)
    lock = os.path.join(work, f"{cell.key(samples)}.lock")
    with open(lock, "w") as held, open(f"{path}.log", "a", buffering=1) as log:
        # Another command may train the same cell, in the same folder of unfinished trainings.
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
    # Finished by the code that began it, or begun again.
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
    """Metrics of a trained ranker on the test rows, with the bootstrap's replicates.

    Also `other_users_history`: AUC on some rows with the history of another user.
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
    # The history of a row half-way round, which is nearly always another user's.
    some = np.random.default_rng(0).permutation(len(label))[:_CONTROL_ROWS]
    exchanged = {name: values[some] for name, values in test.items()}
    exchanged |= {name: np.roll(exchanged[name], len(some) // 2, axis=0) for name in names}
    other = ranking_metrics.auc(probabilities(exchanged), label[some])
    replicates = {
        name: np.round(metrics.pop(name), 6).tolist()
        for name in ("auc_replicates", "gauc_replicates")
    }
    return {**metrics, "other_users_history": other, **replicates}


def provenance(done: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Which versions of the code trained some cells, and whether that is this one, for a table."""
    versions = sorted({cell["code"] for cell in done})
    return {"code": versions, "trained_by_this_code": versions == [code()]}


def code() -> str:
    """Twelve digits of SHA-256 over the sources that train a cell and score it."""
    sources = ("model/**/*.py", "transforms/**/*.py", "pipeline/ingest/**/*.py")
    return cache.code(*sources, "pipeline/evaluation/ranking_metrics.py", "experiments/runs.py")
