"""A GRU, and DIEN's AUGRU: a GRU whose update gate is scaled by attention."""

from typing import Any

import tensorflow as tf

from model.layers.initializers import candidate_kernel
from model.layers.packed_sequence import Packed, write


class GatedRecurrence(tf.keras.layers.Layer):
    """GRU with attentional update gate (DIEN, arXiv 1809.03672, eq. 2-7 and 12-14).

    `u = σ(Wu x + Uu h + bu)`, `r = σ(Wr x + Ur h + br)`, `c = tanh(Wc x + r ∘ Uc h + bc)`,
    `u' = a u`, `h' = (1 − u') ∘ h + u' ∘ c`. With a = 1 it is a GRU.

    Args:
      units: width of the state.
      start: initial values of W, `random` or `passing_on`.
    """

    def __init__(self, units: int, start: str = "random", **kwargs: Any):
        super().__init__(**kwargs)
        self.units, self.start = units, start
        self.inputs = tf.keras.layers.Dense(3 * units, kernel_initializer=candidate_kernel(start))

    def build(self, input_shape: Any) -> None:
        """Creates Uu, Ur and Uc, side by side."""
        self.recurrent = self.add_weight(
            name="recurrent", shape=(self.units, 3 * self.units), initializer="orthogonal"
        )
        super().build(input_shape)

    def call(self, sequence: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """All states `(B, L, units)`, starting from zeros; zeros for padding.

        Args:
          sequence: x `(B, L, D)`.
          mask: `(B, L)`, True for events, padded on the left.
        """
        packed = Packed(mask)
        given = self.inputs(packed.flat(sequence))
        return packed.unflat(gated_states(packed, given, self.recurrent))

    def last(self, sequence: tf.Tensor, mask: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """The newest state `(B, K, units)` with a scaled update gate; zeros without events.

        Args:
          sequence: x `(B, L, D)`, the same for each of K.
          mask: `(B, L)`, True for events, padded on the left.
          scale: a `(B, L, K)`.
        """
        packed = Packed(mask)
        given = self.inputs(packed.flat(sequence))
        return packed.newest(scaled_states(packed, given, packed.flat(scale), self.recurrent))

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same layer, for Keras."""
        return super().get_config() | {"units": self.units, "start": self.start}


def gated_states(packed: Packed, given: tf.Tensor, recurrent: tf.Tensor) -> tf.Tensor:
    """The states of a GRU for N events, `(N, D)`.

    Args:
      packed: the positions of the events.
      given: `W x + b` `(N, 3D)`, for u, r and c.
      recurrent: U `(D, 3D)`.
    """
    scale = tf.ones([tf.shape(given)[0], 1], given.dtype)
    return tf.squeeze(scaled_states(packed, given, scale, recurrent), 1)


def scaled_states(
    packed: Packed, given: tf.Tensor, scale: tf.Tensor, recurrent: tf.Tensor
) -> tf.Tensor:
    """The states for N events and K scales of the update gate, `(N, K, D)`.

    The gradient is hand-written and cannot be differentiated again.

    Args:
      packed: the positions of the events.
      given: `W x + b` `(N, 3D)`, for u, r and c.
      scale: a `(N, K)`.
      recurrent: U `(D, 3D)`.
    """
    units, count = recurrent.shape[0], scale.shape[1] or tf.shape(scale)[1]
    parts = [2 * units, units]

    def times(states: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """`states @ kernel` of `(..., K, *)`."""
        flat = tf.matmul(tf.reshape(states, [-1, kernel.shape[0]]), kernel)
        return tf.reshape(flat, tf.stack([-1, count, kernel.shape[1]]))

    @tf.custom_gradient
    def states(given: tf.Tensor, scale: tf.Tensor, recurrent: tf.Tensor) -> Any:
        empty = tf.zeros(tf.stack([0, count, units]), given.dtype)
        scale_at = packed.columns(tf.expand_dims(scale, 2))
        given_at = packed.columns(tf.expand_dims(given, 1))

        def step(column: tf.Tensor, state: tf.Tensor, *written: tf.TensorArray) -> Any:
            state = packed.joined(state, column)
            own_gates, own_fresh = tf.split(times(state, recurrent), parts, axis=2)
            given_gates, given_fresh = tf.split(given_at.read(column), parts, axis=2)
            gates = tf.sigmoid(given_gates + own_gates)
            update, reset = tf.split(gates, 2, axis=2)
            fresh = tf.tanh(given_fresh + reset * own_fresh)
            after = state + scale_at.read(column) * update * (fresh - state)
            values = (after, state, own_fresh, gates, fresh)
            return after, *write(written, column, values)

        widths = (units, units, units, 2 * units, units)
        arrays = [packed.unwritten(given.dtype, [scale.shape[1], width]) for width in widths]
        _, all_states, *saved = packed.run(step, (empty, *arrays))
        all_states = all_states.concat()

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            upstream_at, back = packed.columns(upstream), tf.transpose(recurrent)

            def step(column: tf.Tensor, carried: tf.Tensor, *written: tf.TensorArray) -> Any:
                state, own_fresh, gates, fresh = (each.read(column) for each in saved)
                update, reset = tf.split(gates, 2, axis=2)
                here = upstream_at.read(column) + carried
                change, scaled = fresh - state, here * scale_at.read(column)
                taken = scaled * update
                inner = tf.raw_ops.TanhGrad(y=fresh, dy=taken)
                outer = tf.concat([scaled * change, inner * own_fresh], axis=2)
                by_gates = tf.raw_ops.SigmoidGrad(y=gates, dy=outer)
                by_state = tf.concat([by_gates, inner * reset], axis=2)
                _, before = packed.parted(here - taken + times(by_state, back), column)
                values = (
                    by_state,
                    tf.reduce_sum(tf.concat([by_gates, inner], axis=2), axis=1),
                    tf.reduce_sum(here * change * update, axis=2),
                )
                return before, *write(written, column, values)

            shapes = ([scale.shape[1], 3 * units], given.shape[1:], scale.shape[1:])
            arrays = [packed.unwritten(given.dtype, shape) for shape in shapes]
            carried = tf.zeros_like(packed.last_column(all_states))
            _, *gradients = packed.run(step, (carried, *arrays), backwards=True)
            by_state, by_given, by_scale = (each.concat() for each in gradients)
            before = tf.reshape(saved[0].concat(), [-1, units])
            by_state = tf.reshape(by_state, [-1, 3 * units])
            return by_given, by_scale, tf.matmul(before, by_state, transpose_a=True)

        return all_states, gradient

    return states(given, scale, tf.convert_to_tensor(recurrent))
