"""A GRU, and one whose update gate is scaled from outside: DIEN's AUGRU."""

from typing import Any

import tensorflow as tf

from model.layers.packed import Packed
from model.layers.passing_on import starting


class GatedRecurrence(tf.keras.layers.Layer):
    """GRU with attentional update gate (DIEN, arXiv 1809.03672, eq. 2-7 and 12-14).

    `u = σ(Wu x + Uu h + bu)`, `r = σ(Wr x + Ur h + br)`, `c = tanh(Wc x + r ∘ Uc h + bc)`,
    `u' = a u`, `h' = (1 − u') ∘ h + u' ∘ c`. With a = 1 it is a GRU.

    Args:
      units: width of the state.
      start: first values of W, `random` or `passing_on`.
    """

    def __init__(self, units: int, start: str = "random", **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.inputs = tf.keras.layers.Dense(3 * units, kernel_initializer=starting(start))

    def build(self, input_shape: Any) -> None:
        """Makes Uu, Ur and Uc, side by side."""
        self.recurrent = self.add_weight(
            name="recurrent", shape=(self.units, 3 * self.units), initializer="orthogonal"
        )
        super().build(input_shape)

    def call(self, sequence: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """All states `(B, L, units)` of x `(B, L, D)`, from a state of zeros; zero where padded.

        Args:
          sequence: x.
          mask: `(B, L)`, True where filled, False on the left.
        """
        packed = Packed(mask)
        given_at = packed.columns(self.inputs(packed.flat(sequence)))
        shape = [None, self.units]
        written = tf.TensorArray(
            sequence.dtype, tf.shape(mask)[1], infer_shape=False, element_shape=shape
        )

        def step(column: tf.Tensor, state: tf.Tensor, written: tf.TensorArray) -> Any:
            state = packed.joined(state, column)
            state = self._next(given_at.read(column), state, 1)
            return state, written.write(column, state)

        start = tf.zeros([0, self.units], sequence.dtype)
        _, written = packed.run(step, (start, written))
        return packed.unflat(tf.ensure_shape(written.concat(), shape))

    def last(self, sequence: tf.Tensor, mask: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """The newest state `(B, K, units)` with the update gate scaled; zeros without events.

        Args:
          sequence: x `(B, L, D)`, the same for each of K.
          mask: `(B, L)`, True where filled, False on the left.
          scale: a `(B, L, K)`.
        """
        packed, count = Packed(mask), tf.shape(scale)[2]
        given_at = packed.columns(self.inputs(packed.flat(sequence))[:, None, :])
        scale_at = packed.columns(packed.flat(scale)[:, :, None])

        def step(column: tf.Tensor, state: tf.Tensor) -> Any:
            state = packed.joined(state, column)
            return [self._next(given_at.read(column), state, scale_at.read(column))]

        # One of K is read as any number: the loop takes the shape as it comes.
        start = tf.zeros(tf.stack([0, count, self.units]), sequence.dtype)
        [state] = packed.run(step, [tf.ensure_shape(start, [None, None, self.units])])
        return packed.rows(state)

    def _next(self, given: tf.Tensor, state: tf.Tensor, scale: Any) -> tf.Tensor:
        # Split and not sliced: the gradient of a slice fills zeros around it, in every step.
        parts = [2 * self.units, self.units]
        flat = tf.matmul(tf.reshape(state, [-1, self.units]), self.recurrent)
        own = tf.reshape(flat, tf.concat([tf.shape(state)[:-1], [3 * self.units]], axis=0))
        own_gates, own_fresh = tf.split(own, parts, axis=-1)
        given_gates, given_fresh = tf.split(given, parts, axis=-1)
        update, reset = tf.split(tf.sigmoid(given_gates + own_gates), 2, axis=-1)
        fresh = tf.tanh(given_fresh + reset * own_fresh)
        return state + scale * update * (fresh - state)
