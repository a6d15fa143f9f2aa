"""SavedModels, loaded once for all parts of the Evaluator; loading one takes seconds."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pipeline.evaluation.eval_config import SCORE, SIGNATURE


@functools.lru_cache(maxsize=2)
def model(model_dir: str) -> Any:
    """The SavedModel in a folder, which nobody may change."""
    return tf.saved_model.load(model_dir)


@functools.lru_cache(maxsize=2)
def scorer(model_dir: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """What scores N serialized raw Examples: `(N,)` by the SavedModel in a folder."""
    return scores_of(model(model_dir))


def scores_of(loaded: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """What scores N serialized raw Examples: `(N,)` by a loaded SavedModel."""

    # Called outside of a function, a signature formats its input as text before it runs.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def scores(records: tf.Tensor) -> tf.Tensor:
        return tf.reshape(loaded.signatures[SIGNATURE](examples=records)[SCORE], [-1])

    return scores


def forget() -> None:
    """Frees the models."""
    model.cache_clear()
    scorer.cache_clear()
