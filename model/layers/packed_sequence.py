"""Histories of many lengths, run through a recurrence without a step for padding."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def prepend_empty_step(history: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """History and mask with a first place of padding, so that one of no places has one."""
    return tf.pad(history, [[0, 0], [1, 0], [0, 0]]), tf.pad(mask, [[0, 0], [1, 0]])


class Packed:
    """The filled places of histories that are padded on the left, ordered by time.

    A recurrence takes the columns from the oldest on; a row joins at its first event,
    so a step computes the `active[t]` rows that have one and nothing else. Rows are
    sorted by length: those that are active are always the last ones. What belongs to
    filled places is `(N, ...)`, the oldest column first.

    A loop over columns and its gradient, a loop from the newest column back, are both
    written with what is here: TensorFlow's own gradient of a loop keeps and reads each
    value between, which for steps as small as these takes longer than the computation.

    Args:
      mask: `(B, L)`, True where filled, False on the left.
    """

    def __init__(self, mask: tf.Tensor):
        lengths = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
        self._order = tf.argsort(lengths, stable=True)
        self._shape = tf.shape(mask)
        by_time = tf.transpose(tf.gather(mask, self._order))
        # How many rows have an event in each column, and how many of these their first, `(L,)`.
        self.active = tf.reduce_sum(tf.cast(by_time, tf.int32), axis=1)
        self.joining = self.active - tf.pad(self.active[:-1], [[1, 0]])
        column, row = tf.unstack(tf.cast(tf.where(by_time), tf.int32), axis=1)
        self._places = tf.stack([tf.gather(self._order, row), column], axis=1)

    def flat(self, values: tf.Tensor) -> tf.Tensor:
        """The filled places `(N, ...)` of `(B, L, ...)`."""
        return tf.gather_nd(values, self._places)

    def unflat(self, flat: tf.Tensor) -> tf.Tensor:
        """`(B, L, ...)` of the filled places `(N, ...)`, zero where padded."""
        shape = tf.concat([self._shape, tf.shape(flat)[1:]], axis=0)
        return tf.scatter_nd(self._places, flat, shape)

    def last_column(self, flat: tf.Tensor) -> tf.Tensor:
        """The newest place `(active[L - 1], ...)` of each row that has one."""
        # `tf.slice` has a pad as its gradient, which takes less time than that of `[n:]`.
        rest = [0] * (len(flat.shape) - 1)
        return tf.slice(flat, [tf.shape(flat)[0] - self.active[-1], *rest], [-1] * len(flat.shape))

    def newest(self, flat: tf.Tensor, first: Any = None) -> tf.Tensor:
        """Of each row the newest place, `(B, ...)`; `first` `(...)`, or zeros, without events."""
        every = preceded(self.last_column(flat), self._shape[0] - self.active[-1], first)
        return tf.gather(every, tf.math.invert_permutation(self._order))

    def columns(self, flat: tf.Tensor) -> tf.TensorArray:
        """The filled places `(N, ...)`, to be read a column `(active[t], ...)` at a time."""
        return self.unwritten(flat.dtype, flat.shape[1:]).split(flat, self.active)

    def unwritten(self, dtype: tf.DType, shape: Any) -> tf.TensorArray:
        """To be written a column `(active[t], *shape)` at a time; `concat` gives `(N, *shape)`."""
        return tf.TensorArray(
            dtype,
            self._shape[1],
            clear_after_read=False,  # eagerly, a place could be read once
            infer_shape=False,
            element_shape=[None, *shape],
        )

    def divided(self, part: tf.Tensor, count: int) -> tuple["Packed", tf.Tensor]:
        """Each history as `count` histories, by which part `(N,)` a place belongs to.

        Returns:
          the places of `B * count` histories, those of a row side by side; and `(N,)`,
          which of the places here is at each place there.
        """
        row, column = tf.unstack(self._places, axis=1)
        ones = self.unflat(tf.one_hot(part, count, dtype=tf.int32))
        # How many of the part are at a place and after it.
        left = tf.gather_nd(
            tf.cumsum(ones, axis=1, reverse=True), tf.stack([row, column, part], axis=1)
        )
        lengths = tf.reshape(tf.reduce_sum(ones, axis=1), [-1])
        longest = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
        there = Packed(tf.reverse(tf.sequence_mask(lengths, longest), [1]))
        places = tf.stack([row * count + part, longest - left], axis=1)
        here = tf.scatter_nd(places, tf.range(tf.size(part)), tf.stack([tf.size(lengths), longest]))
        return there, there.flat(here)

    def joined(self, state: tf.Tensor, column: tf.Tensor, first: Any = None) -> tf.Tensor:
        """The state before a column: that of the rows so far, and `first` for those that join.

        Args:
          state: `(active[t - 1], ...)`.
          column: t.
          first: `(...)`, the same for every row; zeros by default.

        Returns:
          `(active[t], ...)`.
        """
        return preceded(state, tf.gather(self.joining, column), first)

    def parted(self, state: tf.Tensor, column: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The undoing of `joined`: of `(active[t], ...)` the rows that joined, and the others."""
        joining = tf.gather(self.joining, column)
        return state[:joining], state[joining:]

    def run(self, step: Any, states: Any, backwards: bool = False) -> Any:
        """The loop over the columns: `step(t, *states)` gives the states after column t.

        Args:
          step: takes and gives states of active rows, calling `joined` (or `parted`) itself.
          states: before the loop: `(n, ...)`, of rows that may become more or fewer, or a
            TensorArray.
          backwards: from the newest column to the oldest.

        Returns:
          the states after the loop.
        """
        invariants = [
            None if isinstance(state, tf.TensorArray) else tf.TensorShape([None, *state.shape[1:]])
            for state in states
        ]
        end = self._shape[1]

        def body(place: tf.Tensor, *before: Any) -> Any:
            after = step(end - 1 - place if backwards else place, *before)
            for state, shape in zip(after, invariants, strict=True):
                if shape is not None:  # a width that TensorFlow lost sight of on the way
                    state.set_shape(shape)
            return place + 1, *after

        _, *last = tf.while_loop(
            lambda place, *_: place < end,
            body,
            (0, *states),
            shape_invariants=(tf.TensorShape([]), *invariants),
            parallel_iterations=1,
        )
        return last


def write(
    arrays: Sequence[tf.TensorArray], column: tf.Tensor, values: Sequence[tf.Tensor]
) -> list[tf.TensorArray]:
    """The arrays with a column written to each."""
    return [array.write(column, value) for array, value in zip(arrays, values, strict=True)]


def preceded(state: tf.Tensor, count: Any, first: Any = None) -> tf.Tensor:
    """`count` rows of `first`, or of zeros, before those of `state`."""
    if first is None:
        return tf.pad(state, [[count, 0], *[[0, 0]] * (len(state.shape) - 1)])
    shape = tf.concat([[count], tf.shape(first)], axis=0)
    return tf.concat([tf.broadcast_to(first, shape), state], axis=0)
