"""The recurrences of DIEN and MIMN as their equations say, for TensorFlow to differentiate.

The forward computation, its loop over packed columns and its results are those of
`model/layers/gru.py` and `model/baselines/mimn_memory.py`. Only their hand-written gradients, and
the values that are saved for them, are missing.
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import tensorflow as tf

from model.baselines import mimn_memory
from model.layers import gru
from model.layers.packed_sequence import Packed, write


@contextlib.contextmanager
def automatic_gradients() -> Iterator[None]:
    """What is traced inside is differentiated by TensorFlow."""
    with (
        mock.patch.object(gru, "scaled_states", scaled_states),
        mock.patch.object(mimn_memory, "memories", memories),
    ):
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


def memories(
    packed: Packed,
    given: tf.Tensor,
    r_kernel: tf.Tensor,
    h_kernel: tf.Tensor,
    emit: tf.Tensor,
    emit_bias: tf.Tensor,
    beta: tf.Tensor,
    rebalance: tf.Tensor,
    first: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """As `mimn_memory.memories`: M `(N, m, D)`, g and w_r `(N, m)`."""
    slots, dim = first.shape
    r_kernel, h_kernel, emit = map(tf.convert_to_tensor, (r_kernel, h_kernel, emit))
    given_at = packed.columns(given)

    def cosines(keys: tf.Tensor, memory: tf.Tensor) -> tf.Tensor:
        dots = tf.reduce_sum(keys[:, :, None] * memory[:, None], axis=3)
        of_keys = tf.reduce_sum(tf.square(keys), axis=2, keepdims=True) + 1e-6
        of_slots = tf.reduce_sum(tf.square(memory), axis=2)[:, None] + 1e-6
        return dots * tf.math.rsqrt(of_keys * of_slots)

    def step(column: Any, h: Any, r: Any, memory: Any, used: Any, *written: Any) -> Any:
        h, r = packed.joined(h, column), packed.joined(r, column)
        memory, used = packed.joined(memory, column, first), packed.joined(used, column)
        x_update, x_reset, x_fresh = tf.split(
            given_at.read(column) + tf.matmul(r, r_kernel), 3, axis=1
        )
        h_update, h_reset, h_fresh = tf.split(tf.matmul(h, h_kernel), 3, axis=1)
        update, reset = tf.sigmoid(x_update + h_update), tf.sigmoid(x_reset + h_reset)
        fresh = tf.tanh(x_fresh + reset * h_fresh)
        h += update * (fresh - h)
        emitted = tf.reshape(tf.matmul(h, emit) + emit_bias, [-1, 4, dim])
        keys, erase, add = tf.split(emitted, [2, 1, 1], axis=1)
        erase, add = tf.sigmoid(erase), tf.tanh(add)
        reading, writing = tf.unstack(beta[:, None] * cosines(keys, memory), axis=1)
        reading = tf.nn.softmax(reading)
        writing = tf.nn.softmax(writing + tf.matmul(used, rebalance))
        r = tf.reduce_sum(reading[:, :, None] * memory, axis=1)
        memory += writing[:, :, None] * (add - erase * memory)
        used += writing
        return h, r, memory, used, *write(written, column, (memory, used, reading))

    shapes = ([dim], [dim], [slots, dim], [slots])
    empty = [tf.zeros([0, *shape], given.dtype) for shape in shapes]
    arrays = [packed.unwritten(given.dtype, shape) for shape in ([slots, dim], [slots], [slots])]
    *_, memory, used, reading = packed.run(step, (*empty, *arrays))
    return memory.concat(), used.concat(), tf.stop_gradient(reading.concat())
