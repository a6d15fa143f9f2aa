"""Dice, the activation of DIN that adapts to its data."""

from typing import Any

import tensorflow as tf


class Dice(tf.keras.layers.Layer):
    """`f(s) = p s + (1 − p) α s`, `p = σ((s − E[s]) / √(Var[s] + ε))` (DIN, section 5.3).

    Expectation and variance are those of the rows while training, and their moving
    averages otherwise, so that a score never depends on what else is in its batch.

    Args:
      momentum: of the moving averages.
      epsilon: keeps the root finite.
    """

    def __init__(self, momentum: float = 0.99, epsilon: float = 1e-8, **kwargs: Any):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        """Makes α, a unit each, and the moving averages."""
        shape = (input_shape[-1],)
        moving = {
            "trainable": False,
            # Replicas of tf.distribute keep their own and are averaged when read.
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.MEAN,
        }
        self.alpha = self.add_weight(name="alpha", shape=shape, initializer="zeros")
        self.mean = self.add_weight(name="mean", shape=shape, initializer="zeros", **moving)
        self.variance = self.add_weight(name="variance", shape=shape, initializer="ones", **moving)
        super().build(input_shape)

    def call(self, rows: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Activations `(N, units)` of `(N, units)`; no rows leave the averages alone."""
        mean, variance = tf.convert_to_tensor(self.mean), tf.convert_to_tensor(self.variance)
        if training:
            some = tf.shape(rows)[0] > 0
            count = tf.cast(tf.maximum(tf.shape(rows)[0], 1), rows.dtype)
            own_mean = tf.reduce_sum(rows, axis=0) / count
            own_variance = tf.reduce_sum(tf.square(rows - own_mean), axis=0) / count
            rate = tf.where(some, tf.cast(1 - self.momentum, rows.dtype), 0)
            self.mean.assign_add(rate * (own_mean - mean))
            self.variance.assign_add(rate * (own_variance - variance))
            mean, variance = own_mean, own_variance
        p = tf.sigmoid((rows - mean) * tf.math.rsqrt(variance + self.epsilon))
        return rows * (self.alpha + p * (1 - self.alpha))
