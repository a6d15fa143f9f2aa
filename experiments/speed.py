"""Training speed: the trainer's step, timed on batches that are held in memory."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from experiments import runs, samples
from model.configs import TrainingConfig
from model.ranker import Ranker
from model.training import data
from model.training.embedding_l2 import EmbeddingL2
from model.training.optimizer import LazyAdam

_STEPS = 5
_ROUNDS = 3


def examples_per_second(asked: Sequence[runs.Run], shared: samples.Samples) -> dict[str, float]:
    """Training examples a second of each system: the best of some rounds, taken in turn.

    On batches held in memory, so that what is compared is the step alone, with the threads
    that `runs.share_cores` gave to each training.
    """
    steps = {}
    for cell in asked:
        ranker, recipe, spec = runs.ranker_and_files(cell, shared)
        files = shared.transformed("train")
        source = data.training_batches(files, spec, recipe.batch_size, 0, 0)
        batches = list(source.take(_STEPS))
        steps[cell.name] = (training_step(ranker, recipe, batches[0]), batches)
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
    ranker: Ranker, recipe: TrainingConfig, like: dict[str, tf.Tensor], optimizer: str = "lazy_adam"
) -> Callable[[dict[str, tf.Tensor]], Any]:
    """A step as the trainer's, for batches with the shapes of `like`, any number of rows."""
    if optimizer == "keras_adam":
        # The same rate for all, which changes nothing of its cost.
        ranker.optimizer = tf.keras.optimizers.Adam(recipe.learning_rate)
    else:
        ranker.optimizer = LazyAdam(recipe.learning_rate, recipe.table_learning_rate)
    ranker.optimizer.build(ranker.trainable_variables)
    if recipe.table_l2:
        ranker.embedding_l2 = EmbeddingL2(recipe.table_l2, np.ones(ranker.encoder.num_items))
    spec = {
        name: tf.TensorSpec([None, *values.shape[1:]], values.dtype)
        for name, values in like.items()
    }

    @tf.function(input_signature=[spec], autograph=False)
    def step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        return ranker.update_weights(batch)[0]

    return lambda batch: step(batch).numpy()
