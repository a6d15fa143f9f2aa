"""What a row of the benchmark of training does in its process: build a step, and time it."""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders  # noqa: F401  imported once, before processes are forked

from benchmarks.training import lower_bound, steps
from benchmarks.training.naive_imn import NaiveConfig
from experiments.speed import training_step
from model import presets
from model.configs import TrainingConfig
from model.ranker import DataSpec, Ranker, build_ranker

PLAIN = "_plain"
RECIPE = "_recipe"


def measure(cell: steps.Measurement) -> dict[str, Any]:
    """`steps.timed` of a cell."""
    use_threads(cell.threads)
    given = steps.batches(cell.length, cell.batch_size, cell.items)
    if cell.model == "floor":
        compute = lower_bound.step(cell.length, cell.batch_size, cell.items, steps.DIM)
        return steps.timed(compute, [lower_bound.look_ups(batch) for batch in given], cell.seconds)
    ranker, recipe = build(cell.model, cell.length, cell.items)
    batches = [constants(batch) for batch in given]
    step = training_step(ranker, recipe, batches[0], cell.optimizer)
    return steps.timed(step, batches, cell.seconds)


def use_threads(threads: int) -> None:
    """Sets TensorFlow's threads, before it has started."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def constants(batch: dict[str, np.ndarray]) -> dict[str, tf.Tensor]:
    """A batch as tensors."""
    return {name: tf.constant(values) for name, values in batch.items()}


def build(model: str, length: int, items: int) -> tuple[Ranker, TrainingConfig]:
    """The ranker of a row, and the recipe it is trained by."""
    name = model.removesuffix(PLAIN).removesuffix(RECIPE)
    given = {} if model.endswith(RECIPE) else {"extra_candidates": 0}
    config, recipe = presets.resolve(name, "", given)
    if model.endswith(PLAIN):
        config = NaiveConfig(**config.to_dict())
    return build_ranker(config, DataSpec(items, length), recipe), recipe
