"""Dice, the activation of DIN that adapts to its data."""

from typing import Any

import tensorflow as tf


class Dice(tf.keras.layers.Layer):
    """`f(s) = p s + (1 − p) α s`, `p = σ((s − E[s]) / √(Var[s] + ε))` (DIN, section 5.3).

    While training, expectation and variance are those of the batch; otherwise their moving
    averages, so that a score does not depend on the other rows of a request.

    Args:
      momentum: decay of the moving averages.
      epsilon: avoids a division by zero.
    """

    def __init__(self, momentum: float = 0.99, epsilon: float = 1e-8, **kwargs: Any):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        """Creates α, one for each unit, and the moving averages."""
        shape = (input_shape[-1],)
        moving = {
            "trainable": False,
            # Each replica of tf.distribute has its own values; reading averages them.
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.MEAN,
        }
        self.alpha = self.add_weight(name="alpha", shape=shape, initializer="zeros")
        self.mean = self.add_weight(name="mean", shape=shape, initializer="zeros", **moving)
        self.variance = self.add_weight(name="variance", shape=shape, initializer="ones", **moving)
        super().build(input_shape)

    def call(self, rows: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Activations `(N, units)` of `(N, units)`. Without rows the averages do not change."""
        mean, variance = tf.convert_to_tensor(self.mean), tf.convert_to_tensor(self.variance)
        if training:
            has_rows = tf.shape(rows)[0] > 0
            count = tf.cast(tf.maximum(tf.shape(rows)[0], 1), rows.dtype)
            batch_mean = tf.reduce_sum(rows, axis=0) / count
            batch_variance = tf.reduce_sum(tf.square(rows - batch_mean), axis=0) / count
            rate = tf.where(has_rows, tf.cast(1 - self.momentum, rows.dtype), 0)
            self.mean.assign_add(rate * (batch_mean - mean))
            self.variance.assign_add(rate * (batch_variance - variance))
            mean, variance = batch_mean, batch_variance
        p = tf.sigmoid((rows - mean) * tf.math.rsqrt(variance + self.epsilon))
        return rows * (self.alpha + p * (1 - self.alpha))

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same layer, for Keras."""
        return super().get_config() | {"momentum": self.momentum, "epsilon": self.epsilon}
