"""Random batches of transformed samples, and a training step whose gradients can be read."""

import numpy as np
import tensorflow as tf

from model.training.optimizer import LazyAdam
from transforms import features

ITEMS, L, B = 30, 7, 12


def batch(rng, rows=B, width=L):
    """Histories of random lengths, an empty and a full one first; labels 0, 1, 0, 1, ..."""
    length = rng.integers(0, width + 1, rows)
    length[:2] = 0, width
    return {
        features.HISTORY_ITEM: tf.constant(rng.integers(1, ITEMS, (rows, width))),
        features.HISTORY_ELAPSED: tf.constant(rng.integers(0, 32, (rows, width))),
        features.HISTORY_LENGTH: tf.constant(length[:, None]),
        features.TARGET_ITEM: tf.constant(rng.integers(1, ITEMS, (rows, 1))),
        features.LABEL: tf.constant(np.arange(rows)[:, None] % 2),
    }


class RecordingAdam(LazyAdam):
    """LazyAdam that keeps the last gradients, by the name of their variable."""

    def apply_gradients(self, grads_and_vars, **kwargs):
        pairs = list(grads_and_vars)
        self.gradients = {variable.name: gradient for gradient, variable in pairs}
        return super().apply_gradients(pairs, **kwargs)


def step(ranker, inputs, rate=1e-2):
    """One training step; returns the loss and the gradients by the variable's name."""
    if getattr(ranker, "optimizer", None) is None:
        ranker.optimizer = RecordingAdam(rate, rate)
        ranker.optimizer.build(ranker.trainable_variables)
    losses, _ = ranker.update_weights(inputs)
    return losses.total, ranker.optimizer.gradients
