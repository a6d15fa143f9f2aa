"""The recurrence of DIEN as its equations say, for TensorFlow to differentiate.

The forward computation, its loop over packed columns and its results are those of
`model/layers/gru.py`. Only the hand-written gradient, and the values that are saved for it, are
missing.
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import tensorflow as tf

from model.layers import gru
from model.layers.packed_sequence import Packed, write


@contextlib.contextmanager
def automatic_gradients() -> Iterator[None]:
    """What is traced inside is differentiated by TensorFlow."""
    with mock.patch.object(gru, "scaled_states", scaled_states):
        yield


def scaled_states(
    packed: Packed, given: tf.Tensor, scale: tf.Tensor, recurrent: tf.Tensor
) -> tf.Tensor:
    """As `gru.scaled_states`: `(N, K, D)`."""
    recurrent = tf.convert_to_tensor(recurrent)
    units, count = recurrent.shape[0], scale.shape[1] or tf.shape(scale)[1]
    scale_at = packed.columns(tf.expand_dims(scale, 2))
    given_at = packed.columns(tf.expand_dims(given, 1))

    def step(column: tf.Tensor, state: tf.Tensor, *written: tf.TensorArray) -> Any:
        state = packed.joined(state, column)
        own = tf.matmul(tf.reshape(state, [-1, units]), recurrent)
        own = tf.reshape(own, tf.stack([-1, count, 3 * units]))
        x_update, x_reset, x_fresh = tf.split(given_at.read(column), 3, axis=2)
        h_update, h_reset, h_fresh = tf.split(own, 3, axis=2)
        update, reset = tf.sigmoid(x_update + h_update), tf.sigmoid(x_reset + h_reset)
        fresh = tf.tanh(x_fresh + reset * h_fresh)
        after = state + scale_at.read(column) * update * (fresh - state)
        return after, *write(written, column, (after,))

    empty = tf.zeros(tf.stack([0, count, units]), given.dtype)
    array = packed.unwritten(given.dtype, [scale.shape[1], units])
    return packed.run(step, (empty, array))[1].concat()
