"""A GRU whose update gate is scaled from outside: DIEN's AUGRU, and with a mask a GRU."""

from typing import Any

import tensorflow as tf


class GatedRecurrence(tf.keras.layers.Layer):
    """GRU with attentional update gate (DIEN, arXiv 1809.03672, eq. 2-7 and 12-14).

    `u = σ(Wu x + Uu h + bu)`, `r = σ(Wr x + Ur h + br)`, `c = tanh(Wc x + r ∘ Uc h + bc)`,
    `u' = a u`, `h' = (1 − u') ∘ h + u' ∘ c`. Where a is 0 the state is carried, so a
    mask as a makes a GRU that knows padding.

    Args:
      units: width of the state.
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.inputs = tf.keras.layers.Dense(3 * units)

    def build(self, input_shape: Any) -> None:
        """Makes Uu, Ur and Uc, side by side."""
        self.recurrent = self.add_weight(
            name="recurrent", shape=(self.units, 3 * self.units), initializer="orthogonal"
        )
        super().build(input_shape)

    def call(self, sequence: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """All states, from a state of zeros.

        Args:
          sequence: x `(B, L, D)`, the same for each of K.
          scale: a `(B, L, K)`.

        Returns:
          h `(L, B, K, units)`, the last one newest.
        """
        rows, length, count = tf.unstack(tf.shape(scale))
        # Time first, and all that does not wait for a state computed at once.
        given = tf.transpose(self.inputs(sequence), [1, 0, 2])[:, :, None, :]
        scale = tf.transpose(scale, [1, 0, 2])[:, :, :, None]
        states = tf.TensorArray(sequence.dtype, length, element_shape=[None, None, self.units])
        given_at = tf.TensorArray(sequence.dtype, length).unstack(given)
        scale_at = tf.TensorArray(sequence.dtype, length).unstack(scale)
        units = self.units

        def step(place: tf.Tensor, state: tf.Tensor, states: Any) -> Any:
            flat = tf.matmul(tf.reshape(state, [-1, units]), self.recurrent)
            own = tf.reshape(flat, [rows, count, 3 * units])
            x = given_at.read(place)
            gates = tf.sigmoid(x[..., : 2 * units] + own[..., : 2 * units])
            update, reset = tf.split(gates, 2, axis=-1)
            fresh = tf.tanh(x[..., 2 * units :] + reset * own[..., 2 * units :])
            state += scale_at.read(place) * update * (fresh - state)
            return place + 1, state, states.write(place, state)

        first = tf.zeros(tf.stack([rows, count, units]), sequence.dtype)
        _, _, states = tf.while_loop(
            lambda place, *_: place < length,
            step,
            (0, first, states),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None, units]), None),
            parallel_iterations=1,
        )
        return tf.reshape(states.stack(), tf.stack([length, rows, count, units]))
