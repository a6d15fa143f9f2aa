"""Packed sequences: a recurrence over histories of different lengths without steps for padding."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def prepend_empty_step(history: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """History and mask with one step of padding in front, so that L is at least 1."""
    return tf.pad(history, [[0, 0], [1, 0], [0, 0]]), tf.pad(mask, [[0, 0], [1, 0]])


class Packed:
    """The events of histories that are padded on the left, ordered by time.

    A recurrence visits the columns from the oldest to the newest. A row joins at its first event,
    so step t computes `active[t]` rows only. Rows are sorted by length; the active ones are always
    the last. Values of events have the shape `(N, ...)`, oldest column first.

    The methods serve both a loop over columns and its hand-written gradient, a loop back from the
    newest column. The automatic gradient of a loop stores and reads every intermediate value,
    which takes longer than the computation for steps this small.

    Args:
      mask: `(B, L)`, True for events, padded on the left.
    """

    def __init__(self, mask: tf.Tensor):
        lengths = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
        self._order = tf.argsort(lengths, stable=True)
        self._shape = tf.shape(mask)
        by_time = tf.transpose(tf.gather(mask, self._order))
        # Rows with an event in each column, and rows with their first event there, `(L,)`.
        self.active = tf.reduce_sum(tf.cast(by_time, tf.int32), axis=1)
        self.joining = self.active - tf.pad(self.active[:-1], [[1, 0]])
        column, row = tf.unstack(tf.cast(tf.where(by_time), tf.int32), axis=1)
        self._positions = tf.stack([tf.gather(self._order, row), column], axis=1)

    def flat(self, values: tf.Tensor) -> tf.Tensor:
        """The values of the events, `(N, ...)`, of `(B, L, ...)`."""
        return tf.gather_nd(values, self._positions)

    def unflat(self, flat: tf.Tensor) -> tf.Tensor:
        """`(B, L, ...)` of the events' values `(N, ...)`; zeros for padding."""
        shape = tf.concat([self._shape, tf.shape(flat)[1:]], axis=0)
        return tf.scatter_nd(self._positions, flat, shape)

    def last_column(self, flat: tf.Tensor) -> tf.Tensor:
        """The value of the newest event of each row with events, `(active[L - 1], ...)`."""
        # The gradient of `tf.slice` is a pad, which is faster than the gradient of `[n:]`.
        rest = [0] * (len(flat.shape) - 1)
        return tf.slice(flat, [tf.shape(flat)[0] - self.active[-1], *rest], [-1] * len(flat.shape))

    def newest(self, flat: tf.Tensor, first: Any = None) -> tf.Tensor:
        """The newest value of each row, `(B, ...)`; `first` `(...)`, or zeros, for an empty row."""
        every = preceded(self.last_column(flat), self._shape[0] - self.active[-1], first)
        return tf.gather(every, tf.math.invert_permutation(self._order))

    def columns(self, flat: tf.Tensor) -> tf.TensorArray:
        """The values `(N, ...)` as an array of columns `(active[t], ...)`, for reading."""
        return self.unwritten(flat.dtype, flat.shape[1:]).split(flat, self.active)

    def unwritten(self, dtype: tf.DType, shape: Any) -> tf.TensorArray:
        """An array of columns `(active[t], *shape)`, for writing; `concat` gives `(N, *shape)`."""
        return tf.TensorArray(
            dtype,
            self._shape[1],
            clear_after_read=False,  # in eager mode each column could be read only once
            infer_shape=False,
            element_shape=[None, *shape],
        )

    def divided(self, part: tf.Tensor, count: int) -> tuple["Packed", tf.Tensor]:
        """Splits each history into `count` histories; `part` `(N,)` assigns the events.

        Returns:
          the packed sequence of `B * count` histories, those of a row side by side; and `(N,)`,
          the index of each of its events in this sequence.
        """
        row, column = tf.unstack(self._positions, axis=1)
        ones = self.unflat(tf.one_hot(part, count, dtype=tf.int32))
        # Number of events of the same part from this position on.
        left = tf.gather_nd(
            tf.cumsum(ones, axis=1, reverse=True), tf.stack([row, column, part], axis=1)
        )
        lengths = tf.reshape(tf.reduce_sum(ones, axis=1), [-1])
        longest = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
        there = Packed(tf.reverse(tf.sequence_mask(lengths, longest), [1]))
        positions = tf.stack([row * count + part, longest - left], axis=1)
        here = tf.scatter_nd(
            positions, tf.range(tf.size(part)), tf.stack([tf.size(lengths), longest])
        )
        return there, there.flat(here)

    def joined(self, state: tf.Tensor, column: tf.Tensor, first: Any = None) -> tf.Tensor:
        """The state before a column: adds `first` for the rows that join.

        Args:
          state: `(active[t - 1], ...)`.
          column: t.
          first: `(...)`, the same for every row; zeros by default.

        Returns:
          `(active[t], ...)`.
        """
        return preceded(state, tf.gather(self.joining, column), first)

    def parted(self, state: tf.Tensor, column: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The inverse of `joined`: splits `(active[t], ...)` into rows that joined and others."""
        joining = tf.gather(self.joining, column)
        return state[:joining], state[joining:]

    def run(self, step: Any, states: Any, backwards: bool = False) -> Any:
        """Runs the loop over the columns.

        Args:
          step: `step(t, *states)` returns the states after column t. It calls `joined` (or
            `parted`) itself.
          states: initial states: `(n, ...)`, where n may change from step to step, or TensorArrays.
          backwards: from the newest column to the oldest.

        Returns:
          the states after the loop.
        """
        invariants = [
            None if isinstance(state, tf.TensorArray) else tf.TensorShape([None, *state.shape[1:]])
            for state in states
        ]
        end = self._shape[1]

        def body(index: tf.Tensor, *before: Any) -> Any:
            after = step(end - 1 - index if backwards else index, *before)
            for state, shape in zip(after, invariants, strict=True):
                if shape is not None:  # restores the static width
                    state.set_shape(shape)
            return index + 1, *after

        _, *last = tf.while_loop(
            lambda index, *_: index < end,
            body,
            (0, *states),
            shape_invariants=(tf.TensorShape([]), *invariants),
            parallel_iterations=1,
        )
        return last


def write(
    arrays: Sequence[tf.TensorArray], column: tf.Tensor, values: Sequence[tf.Tensor]
) -> list[tf.TensorArray]:
    """Writes one column to each array."""
    return [array.write(column, value) for array, value in zip(arrays, values, strict=True)]


def preceded(state: tf.Tensor, count: Any, first: Any = None) -> tf.Tensor:
    """`count` rows of `first` (zeros by default), then the rows of `state`."""
    if first is None:
        return tf.pad(state, [[count, 0], *[[0, 0]] * (len(state.shape) - 1)])
    shape = tf.concat([[count], tf.shape(first)], axis=0)
    return tf.concat([tf.broadcast_to(first, shape), state], axis=0)
