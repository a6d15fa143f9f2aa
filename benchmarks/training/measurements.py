"""One measurement in its process: builds the model of a row and times its step."""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders  # noqa: F401  imported once, before processes are forked

from benchmarks.training import lower_bound, steps
from benchmarks.training.naive_imn import NaiveConfig
from experiments.speed import training_step
from model import presets
from model.configs import TrainingConfig
from model.ranker import Ranker, build_ranker
from model.scorer import DataSpec

PLAIN = "_plain"
RECIPE = "_recipe"


def measure(measurement: steps.Measurement) -> dict[str, Any]:
    """Builds the step of a measurement and times it with `steps.timed`."""
    use_threads(measurement.threads)
    arrays = steps.batches(measurement.length, measurement.batch_size, measurement.items)
    if measurement.model == "floor":
        compute = lower_bound.step(
            measurement.length, measurement.batch_size, measurement.items, steps.DIM
        )
        return steps.timed(
            compute, [lower_bound.look_ups(batch) for batch in arrays], measurement.seconds
        )
    ranker, recipe = build(measurement.model, measurement.length, measurement.items)
    batches = [constants(batch) for batch in arrays]
    step = training_step(ranker, recipe, batches[0], measurement.optimizer)
    return steps.timed(step, batches, measurement.seconds)


def use_threads(threads: int) -> None:
    """Sets TensorFlow's threads; call it before the first operation."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def constants(batch: dict[str, np.ndarray]) -> dict[str, tf.Tensor]:
    """Converts a batch to tensors."""
    return {name: tf.constant(values) for name, values in batch.items()}


def build(model: str, length: int, items: int) -> tuple[Ranker, TrainingConfig]:
    """The ranker of a row and its training configuration."""
    name = model.removesuffix(PLAIN).removesuffix(RECIPE)
    overrides = {} if model.endswith(RECIPE) else {"extra_candidates": 0}
    config, recipe = presets.resolve(name, "", overrides)
    if model.endswith(PLAIN):
        config = NaiveConfig(**config.to_dict())
    return build_ranker(config, DataSpec(items, length), recipe), recipe
