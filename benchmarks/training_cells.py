"""What a row of the benchmark of training does in its process: build a step, and time it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders  # noqa: F401  imported once, before processes are forked

from benchmarks import floor, steps
from benchmarks.plain_imn import PlainConfig
from model import presets
from model.configs import Recipe
from model.optimizer import LazyAdam
from model.ranker import Inputs, Ranker, build_ranker
from model.table_decay import TableDecay

PLAIN = "_plain"
RECIPE = "_recipe"


def measure(cell: steps.Cell) -> dict[str, Any]:
    """`steps.timed` of a cell."""
    use_threads(cell.threads)
    given = steps.batches(cell.length, cell.batch_size, cell.items)
    if cell.model == "floor":
        compute = floor.step(cell.length, cell.batch_size, cell.items, steps.DIM)
        return steps.timed(compute, [floor.look_ups(batch) for batch in given], cell.seconds)
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


def build(model: str, length: int, items: int) -> tuple[Ranker, Recipe]:
    """The ranker of a row, and the recipe it is trained by."""
    name = model.removesuffix(PLAIN).removesuffix(RECIPE)
    given = {} if model.endswith(RECIPE) else {"extra_candidates": 0}
    config, recipe = presets.resolve(name, "", given)
    if model.endswith(PLAIN):
        config = PlainConfig(**config.to_dict())
    return build_ranker(config, Inputs(items, length), recipe), recipe


def training_step(
    ranker: Ranker, recipe: Recipe, like: dict[str, tf.Tensor], optimizer: str = "lazy_adam"
) -> Callable[[dict[str, tf.Tensor]], Any]:
    """A step as the trainer's, for batches with the shapes of `like`, any number of rows."""
    if optimizer == "keras_adam":
        # The same rate for all, which changes nothing of its cost.
        ranker.optimizer = tf.keras.optimizers.Adam(recipe.learning_rate)
    else:
        ranker.optimizer = LazyAdam(recipe.learning_rate, recipe.table_learning_rate)
    ranker.optimizer.build(ranker.trainable_variables)
    decay = None
    if recipe.table_l2:
        decay = TableDecay(recipe.table_l2, np.ones(ranker.encoder.num_items))
    spec = {
        name: tf.TensorSpec([None, *values.shape[1:]], values.dtype)
        for name, values in like.items()
    }

    @tf.function(input_signature=[spec], autograph=False)
    def step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss, _ = ranker.loss_and_logits(batch, training=True)
            others = [*ranker.losses] + ([decay(ranker, batch)] if decay else [])
            total = tf.add_n([loss, *others])
        variables = ranker.trainable_variables
        gradients = tape.gradient(total, variables)
        ranker.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return total

    return lambda batch: step(batch).numpy()
