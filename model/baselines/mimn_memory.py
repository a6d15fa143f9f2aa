"""MIMN's memory: a neural Turing machine along a history."""

from typing import Any

import tensorflow as tf

from model.layers.packed_sequence import Packed, write


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
    """The memory of a neural Turing machine after each event (MIMN, arXiv 1905.09248).

    A row starts with h = r = 0 and M = `first`. For each event:

        `h = GRU([x ; r], h)`, and from h: keys k_r and k_w, erase e (σ), add a (tanh);
        `w_r = softmax_i(β_r cos(k_r, M_i))`, `r = Σ_i w_r,i M_i`
        `w_w = softmax_i(β_w cos(k_w, M_i) + (W_g g)_i)`, `g ← g + w_w`
        `M_i ← (1 − w_w,i e) ∘ M_i + w_w,i a`

    Args:
      packed: the positions of the events.
      given: terms of x in the update gate, the reset gate and the candidate state, `(N, 3D)`.
      r_kernel: `(D, 3D)`, from r to these.
      h_kernel: `(D, 3D)`, from h to these; the reset gate applies in the candidate state.
      emit: `(D, 4D)`, from h to k_r, k_w, e, a.
      emit_bias: `(4D,)`.
      beta: `(2,)`, for reading and writing.
      rebalance: W_g `(m, m)`.
      first: `(m, D)`.

    Returns:
      M `(N, m, D)` and g `(N, m)` after each event, and w_r `(N, m)`, which has no gradient.
    """
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
