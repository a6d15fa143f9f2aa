"""Histories of many lengths, run through a recurrence without a step for padding."""

from typing import Any

import tensorflow as tf


class Packed:
    """The filled places of histories that are padded on the left, ordered by time.

    A recurrence takes the columns from the oldest on; a row joins at its first event,
    so a step computes the `active[t]` rows that have one and nothing else. Rows are
    sorted by length: those that are active are always the last ones.

    Args:
      mask: `(B, L)`, True where filled, False on the left.
    """

    def __init__(self, mask: tf.Tensor):
        lengths = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
        self._order = tf.argsort(lengths, stable=True)
        self._shape = tf.shape(mask)
        by_time = tf.transpose(tf.gather(mask, self._order))
        # How many rows have an event in each column, `(L,)`.
        self.active = tf.reduce_sum(tf.cast(by_time, tf.int32), axis=1)
        column, row = tf.unstack(tf.cast(tf.where(by_time), tf.int32), axis=1)
        self._places = tf.stack([tf.gather(self._order, row), column], axis=1)

    def flat(self, values: tf.Tensor) -> tf.Tensor:
        """The filled places `(N, ...)` of `(B, L, ...)`, the oldest column first."""
        return tf.gather_nd(values, self._places)

    def unflat(self, flat: tf.Tensor) -> tf.Tensor:
        """`(B, L, ...)` of the filled places `(N, ...)`, zero where padded."""
        shape = tf.concat([self._shape, tf.shape(flat)[1:]], axis=0)
        return tf.scatter_nd(self._places, flat, shape)

    def columns(self, flat: tf.Tensor) -> tf.TensorArray:
        """The filled places `(N, ...)`, to be read a column `(active[t], ...)` at a time."""
        shape = [None, *flat.shape[1:]]
        array = tf.TensorArray(flat.dtype, self._shape[1], infer_shape=False, element_shape=shape)
        return array.split(flat, self.active)

    def joined(self, state: tf.Tensor, column: tf.Tensor, first: Any = None) -> tf.Tensor:
        """The state before a column: that of the rows so far, and `first` for those that join.

        Args:
          state: `(active[t - 1], ...)`.
          column: t.
          first: `(...)`, the same for every row; zeros by default.

        Returns:
          `(active[t], ...)`.
        """
        return _preceded(state, self.active[column] - tf.shape(state)[0], first)

    def rows(self, state: tf.Tensor, first: Any = None) -> tf.Tensor:
        """The last state `(active[L - 1], ...)` as `(B, ...)`; `first` for empty histories."""
        every = _preceded(state, self._shape[0] - tf.shape(state)[0], first)
        return tf.gather(every, tf.math.invert_permutation(self._order))

    def run(self, step: Any, states: Any) -> Any:
        """The loop over the columns: `step(t, *states)` gives the states after column t.

        Args:
          step: takes and gives states `(active[t], ...)`; it calls `joined` itself.
          states: before the first column, `(0, ...)`, or a TensorArray.

        Returns:
          the states after the last column.
        """
        invariants = [
            None if isinstance(state, tf.TensorArray) else tf.TensorShape([None, *state.shape[1:]])
            for state in states
        ]
        _, *last = tf.while_loop(
            lambda column, *_: column < self._shape[1],
            lambda column, *now: (column + 1, *step(column, *now)),
            (0, *states),
            shape_invariants=(tf.TensorShape([]), *invariants),
            parallel_iterations=1,
        )
        return last


def _preceded(state: tf.Tensor, count: tf.Tensor, first: Any) -> tf.Tensor:
    """`count` rows of `first`, or of zeros, before those of `state`.

    Written so that the gradient cuts: that of a slice fills zeros around it, in every step.
    """
    if first is None:
        return tf.pad(state, [[count, 0], *[[0, 0]] * (len(state.shape) - 1)])
    shape = tf.concat([[count], tf.shape(first)], axis=0)
    return tf.concat([tf.broadcast_to(first, shape), state], axis=0)
