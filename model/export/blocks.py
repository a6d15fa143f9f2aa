"""Cuts the rows of a request into blocks, so that the memory of a request has a bound."""

from collections.abc import Sequence

import tensorflow as tf


def cut(values: Sequence[tf.Tensor], at_once: int) -> list[tf.Tensor]:
    """Cuts rows into blocks of equal size, the last one filled up with zeros.

    Args:
      values: each `(B, ...)`, with the same B, which may be 0.
      at_once: rows of a block, at most.

    Returns:
      the values `(blocks, rows, ...)`, one block or more.
    """
    batch = tf.shape(values[0])[0]
    blocks = tf.maximum(-(-batch // at_once), 1)
    rows = -(-batch // blocks)

    def of_value(value: tf.Tensor) -> tf.Tensor:
        of_row = tf.shape(value)[1:]
        more = tf.zeros(tf.concat([[blocks * rows - batch], of_row], axis=0), value.dtype)
        return tf.reshape(
            tf.concat([value, more], axis=0), tf.concat([[blocks, rows], of_row], axis=0)
        )

    return [of_value(value) for value in values]


def joined(blocks: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
    """The first B rows of blocks `(blocks, rows, M)`."""
    shape = tf.shape(blocks)
    return tf.reshape(blocks, [shape[0] * shape[1], shape[2]])[:batch]
