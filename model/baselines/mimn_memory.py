"""MIMN's memory: a neural Turing machine along a history, with a hand-written gradient."""

from typing import Any, NamedTuple

import tensorflow as tf

from model.layers.packed_sequence import Packed, write


class _Step(NamedTuple):
    """The values of a step that its gradient needs, for A rows of width D and m slots."""

    both: Any  # h and r before the step, (A, 2D)
    memory: Any  # M before the step, (A, m, D)
    used: Any  # g before the step, (A, m)
    gates: Any  # update and reset gate of the GRU, (A, 2D)
    fresh: Any  # candidate state of the GRU, (A, D)
    of_h: Any  # term of h in the candidate state, before the reset gate, (A, D)
    h: Any  # after the step, (A, D)
    keys: Any  # k_r and k_w, (A, 2, D)
    erase: Any  # (A, 1, D)
    add: Any  # (A, 1, D)
    square_keys: Any  # (A, 2, 1)
    square_slots: Any  # (A, 1, m)
    scale: Any  # β / product of the norms, (A, 2, m)
    logits: Any  # β times the cosine, (A, 2, m)
    reading: Any  # w_r, (A, m)
    writing: Any  # w_w, (A, m)


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

    A step consists of many small operations, and the automatic gradient of several times as many;
    their number takes the time. The hand-written gradient cannot be differentiated again.

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
    wide, square = [2, dim], [slots, dim]

    @tf.custom_gradient
    def run(*weights: tf.Tensor) -> Any:
        given, kernel, emit, emit_bias, beta, rebalance, first = weights
        given_at = packed.columns(given)

        def step(column: Any, both: Any, memory: Any, used: Any, *written: Any) -> Any:
            both, used = packed.joined(both, column), packed.joined(used, column)
            memory = packed.joined(memory, column, first)
            inner = given_at.read(column) + tf.matmul(both, kernel)
            gates, fresh, of_h = tf.split(inner, [2 * dim, dim, dim], axis=1)
            gates = tf.sigmoid(gates)
            update, reset = tf.split(gates, 2, axis=1)
            fresh = tf.tanh(fresh + reset * of_h)
            before, _ = tf.split(both, 2, axis=1)
            h = before + update * (fresh - before)
            emitted = tf.reshape(tf.matmul(h, emit) + emit_bias, [-1, 4, dim])
            keys, erase, add = tf.split(emitted, [2, 1, 1], axis=1)
            erase, add = tf.sigmoid(erase), tf.tanh(add)
            # Sums instead of a matrix product: the matrices of a row are too small for one.
            dots = tf.reduce_sum(tf.expand_dims(keys, 2) * tf.expand_dims(memory, 1), axis=3)
            square_keys = tf.reduce_sum(tf.square(keys), axis=2, keepdims=True) + 1e-6
            square_slots = tf.expand_dims(tf.reduce_sum(tf.square(memory), axis=2) + 1e-6, 1)
            scale = beta[:, None] * tf.math.rsqrt(square_keys * square_slots)
            logits = dots * scale
            reading, writing = tf.unstack(logits, axis=1)
            reading = tf.nn.softmax(reading)
            writing = tf.nn.softmax(writing + tf.matmul(used, rebalance))
            saved = _Step(
                *(both, memory, used, gates, fresh, of_h, h, keys, erase, add),
                *(square_keys, square_slots, scale, logits, reading, writing),
            )
            r = tf.reduce_sum(tf.expand_dims(reading, 2) * memory, axis=1)
            memory += tf.expand_dims(writing, 2) * (add - erase * memory)
            states = tf.concat([h, r], axis=1), memory, used + writing
            return *states, *write(written, column, (*saved, *states[1:]))

        empty = [tf.zeros([0, *shape], given.dtype) for shape in ([2 * dim], square, [slots])]
        shapes = _Step(
            *([2 * dim], square, [slots], [2 * dim], [dim], [dim], [dim], wide, [1, dim], [1, dim]),
            *([2, 1], [1, slots], [2, slots], [2, slots], [slots], [slots]),
        )
        arrays = [packed.unwritten(given.dtype, shape) for shape in (*shapes, square, [slots])]
        _, _, _, *saved, memory, used = packed.run(step, (*empty, *arrays))
        saved = _Step(*saved)
        gradient = _gradient(packed, saved, kernel, emit, beta, rebalance)
        return (memory.concat(), used.concat(), saved.reading.concat()), gradient

    # One product for h and r. The term of h in the candidate state comes last, on its own.
    empty = tf.zeros([dim, dim], given.dtype)
    of_h = tf.concat([h_kernel[:, : 2 * dim], empty, h_kernel[:, 2 * dim :]], axis=1)
    kernel = tf.concat([of_h, tf.concat([r_kernel, empty], axis=1)], axis=0)
    given = tf.pad(given, [[0, 0], [0, dim]])
    return run(given, kernel, emit, emit_bias, beta, rebalance, first)


def _gradient(
    packed: Packed, saved: _Step, kernel: tf.Tensor, emit: tf.Tensor, beta: Any, rebalance: Any
) -> Any:
    """The gradient of `memories`, as a function of the gradients of its results."""
    dim, slots, dtype = emit.shape[0], rebalance.shape[0], kernel.dtype
    kernel_back, emit_back, rebalance_back = map(tf.transpose, (kernel, emit, rebalance))

    def gradient(dmemory: tf.Tensor, dused: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, ...]:
        dmemory_at, dused_at = packed.columns(dmemory), packed.columns(dused)

        def step(column: Any, dboth: Any, dmemory: Any, dused: Any, dfirst: Any, *out: Any) -> Any:
            at = _Step(*(each.read(column) for each in saved))
            reading, writing = tf.expand_dims(at.reading, 2), tf.expand_dims(at.writing, 2)
            dmemory += dmemory_at.read(column)
            dused += dused_at.read(column)
            dh, dr = tf.split(dboth, 2, axis=1)
            dr = tf.expand_dims(dr, 1)
            # The write and the read.
            written = writing * dmemory
            derase = -tf.reduce_sum(written * at.memory, axis=1, keepdims=True)
            dadd = tf.reduce_sum(written, axis=1, keepdims=True)
            dwriting = tf.reduce_sum(dmemory * (at.add - at.erase * at.memory), axis=2) + dused
            dreading = tf.reduce_sum(at.memory * dr, axis=2)
            dmemory += reading * dr - written * at.erase
            # The two softmaxes.
            dreading, dwriting = (
                (d - tf.reduce_sum(d * weights, axis=1, keepdims=True)) * weights
                for d, weights in ((dreading, at.reading), (dwriting, at.writing))
            )
            dused += tf.matmul(dwriting, rebalance_back)
            dlogits = tf.stack([dreading, dwriting], axis=1)
            # The cosines, as products and as norms.
            ddots, shrunk = tf.expand_dims(dlogits * at.scale, 3), dlogits * at.logits
            dkeys = tf.reduce_sum(ddots * tf.expand_dims(at.memory, 1), axis=2)
            dkeys -= at.keys * (tf.reduce_sum(shrunk, axis=2, keepdims=True) / at.square_keys)
            dmemory += tf.reduce_sum(ddots * tf.expand_dims(at.keys, 2), axis=1)
            of_slots = tf.reduce_sum(shrunk / at.square_slots, axis=1)
            dmemory -= at.memory * tf.expand_dims(of_slots, 2)
            # The outputs of h, and the GRU.
            derase = tf.raw_ops.SigmoidGrad(y=at.erase, dy=derase)
            dadd = tf.raw_ops.TanhGrad(y=at.add, dy=dadd)
            demitted = tf.reshape(tf.concat([dkeys, derase, dadd], axis=1), [-1, 4 * dim])
            dh += tf.matmul(demitted, emit_back)
            before, _ = tf.split(at.both, 2, axis=1)
            update, reset = tf.split(at.gates, 2, axis=1)
            taken = dh * update
            dfresh = tf.raw_ops.TanhGrad(y=at.fresh, dy=taken)
            dgates = tf.concat([dh * (at.fresh - before), dfresh * at.of_h], axis=1)
            dgates = tf.raw_ops.SigmoidGrad(y=at.gates, dy=dgates)
            dinner = tf.concat([dgates, dfresh, dfresh * reset], axis=1)
            dboth = tf.matmul(dinner, kernel_back) + tf.pad(dh - taken, [[0, 0], [0, dim]])
            joined, dmemory = packed.parted(dmemory, column)
            dfirst += tf.reduce_sum(joined, axis=0)
            states = packed.parted(dboth, column)[1], dmemory, packed.parted(dused, column)[1]
            return *states, dfirst, *write(out, column, (dinner, demitted, dlogits))

        count = packed.active[-1]
        empty = [tf.zeros([count, *shape], dtype) for shape in ([2 * dim], [slots, dim], [slots])]
        arrays = [packed.unwritten(dtype, shape) for shape in ([4 * dim], [4 * dim], [2, slots])]
        results = packed.run(step, (*empty, tf.zeros([slots, dim], dtype), *arrays), backwards=True)
        dfirst = results[3]
        dinner, demitted, dlogits = (each.concat() for each in results[4:])
        return (
            dinner,
            tf.matmul(saved.both.concat(), dinner, transpose_a=True),
            tf.matmul(saved.h.concat(), demitted, transpose_a=True),
            tf.reduce_sum(demitted, axis=0),
            tf.reduce_sum(dlogits * saved.logits.concat(), axis=[0, 2]) / beta,
            tf.matmul(saved.used.concat(), dlogits[:, 1], transpose_a=True),
            dfirst,
        )

    return gradient
