"""Training speed: the trainer's step, timed on batches in memory."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from experiments import training
from experiments.sampling.samples import Samples
from model.configs import TrainingConfig
from model.ranker import Ranker
from model.training import data
from model.training.embedding_l2 import EmbeddingL2
from model.training.optimizer import LazyAdam

_STEPS = 5
_ROUNDS = 3


def examples_per_second(runs: Sequence[training.Run], samples: Samples) -> dict[str, float]:
    """Training examples per second of each run, by its name.

    Runs take turns for some rounds, and the best round counts. Batches are in memory, so only
    the step is timed. It uses the threads that `runs.share_cores` gave to each training.
    """
    steps = {}
    for run in runs:
        ranker, recipe, spec = training.new_ranker(run, samples)
        dataset = data.training_batches(samples.transformed("train"), spec, recipe.batch_size, 0, 0)
        batches = list(dataset.take(_STEPS))
        steps[run.name] = (training_step(ranker, recipe, batches[0]), batches)
    best: dict[str, float] = {}
    for _ in range(_ROUNDS + 1):  # the first one traces
        for name, (step, batches) in steps.items():
            start = time.perf_counter()
            for batch in batches:
                step(batch)
            seconds = time.perf_counter() - start
            count = sum(int(tf.size(batch["label"])) for batch in batches)
            best[name] = max(best.get(name, 0.0), count / seconds)
    return best


def training_step(
    ranker: Ranker,
    recipe: TrainingConfig,
    example: dict[str, tf.Tensor],
    optimizer: str = "lazy_adam",
) -> Callable[[dict[str, tf.Tensor]], Any]:
    """The trainer's step, as a function of a batch.

    Args:
      ranker: trained in place.
      recipe: training config.
      example: a batch. Later batches have the same shapes, but any number of rows.
      optimizer: `lazy_adam` or `keras_adam`.
    """
    if optimizer == "keras_adam":
        # One rate for all variables; the cost of a step does not depend on it.
        ranker.optimizer = tf.keras.optimizers.Adam(recipe.learning_rate)
    else:
        ranker.optimizer = LazyAdam(recipe.learning_rate, recipe.table_learning_rate)
    ranker.optimizer.build(ranker.trainable_variables)
    if recipe.table_l2:
        ranker.embedding_l2 = EmbeddingL2(recipe.table_l2, np.ones(ranker.encoder.num_items))
    spec = {
        name: tf.TensorSpec([None, *values.shape[1:]], values.dtype)
        for name, values in example.items()
    }

    @tf.function(input_signature=[spec], autograph=False)
    def step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        return ranker.update_weights(batch)[0].total

    return lambda batch: step(batch).numpy()
