"""The attention of `attention.py` as one operation with a hand-written gradient."""

from typing import Any

import tensorflow as tf


def attend(
    history: tf.Tensor,
    mask: tf.Tensor,
    kernel: tf.Tensor,
    w2: tf.Tensor,
    b2: tf.Tensor,
    normalization: str,
) -> tf.Tensor:
    """`Σ_j w_j e_j` with the weights of `weights`, for C candidates and heads.

    The automatic gradient takes a fifth more time for one candidate: it computes the gradient of
    the history by two products and a sum, and sums over L along the slower axis.

    Args:
      history: e `(B, L, D)`.
      mask: `(B, L)`, True for events.
      kernel: `(B, C, units, D + 1)`; the last column is the bias.
      w2: `(C, units)`.
      b2: `(C,)`.
      normalization: `sigmoid`, `length` or `softmax`.

    Returns:
      `(B, C, D)`, zeros for an empty history. The gradient cannot be differentiated again.
    """

    @tf.custom_gradient
    def sums(history: tf.Tensor, *weighing: tf.Tensor) -> Any:
        kernel, w2, b2 = weighing
        hidden, w = _hidden_and_weights(history, mask, kernel, w2, b2, normalization)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            rows, count, units, columns = tf.unstack(tf.shape(kernel))
            flat = [rows, count * units, tf.shape(history)[1]]
            flat_kernel = tf.reshape(kernel, [rows, count * units, columns])
            dw = tf.matmul(upstream, history, transpose_b=True)
            if normalization == "softmax":
                dlogits = w * (dw - tf.reduce_sum(w * dw, axis=2, keepdims=True))
            elif normalization == "length":
                filled = tf.reduce_sum(tf.cast(mask, w.dtype), axis=1)[:, None, None]
                dlogits = dw * w * (1 - w * filled)
            else:
                dlogits = tf.raw_ops.SigmoidGrad(y=w, dy=dw)
            dhidden = tf.reshape(dlogits[:, :, None, :] * w2[:, :, None], flat)
            dinner = tf.raw_ops.TanhGrad(y=tf.reshape(hidden, flat), dy=dhidden)
            # One product for both paths from the history to the result.
            dhistory = tf.matmul(
                tf.concat([w, dinner], axis=1),
                tf.concat([upstream, flat_kernel[:, :, :-1]], axis=1),
                transpose_a=True,
            )
            dw2 = tf.reduce_sum(tf.matmul(hidden, dlogits[..., None]), axis=0)
            return (
                dhistory,
                tf.reshape(tf.matmul(dinner, _with_ones(history)), tf.shape(kernel)),
                tf.squeeze(dw2, 2),
                tf.reduce_sum(dlogits, axis=[0, 2]),
            )

        return tf.matmul(w, history), gradient

    return sums(history, kernel, w2, b2)


def weights(*arguments: Any) -> tf.Tensor:
    """The weights `(B, C, L)` for the arguments of `attend`; 0 for padding.

    `w_j = σ(w2 · tanh(kernel [e_j ; 1]) + b2)`; `length` divides it by the number of events, and
    `softmax` replaces the outer sigmoid.
    """
    return _hidden_and_weights(*arguments)[1]


def _hidden_and_weights(
    history: tf.Tensor,
    mask: tf.Tensor,
    kernel: tf.Tensor,
    w2: tf.Tensor,
    b2: tf.Tensor,
    normalization: str,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The hidden layer `(B, C, units, L)`, and the weights `(B, C, L)`."""
    rows, count, units, columns = tf.unstack(tf.shape(kernel))
    flat = tf.reshape(kernel, [rows, count * units, columns])
    # The hidden layer is the expensive part. With the bias as a column it is written twice, not
    # three times.
    hidden = tf.tanh(tf.matmul(flat, _with_ones(history), transpose_b=True))
    hidden = tf.reshape(hidden, [rows, count, units, tf.shape(history)[1]])
    logits = tf.squeeze(tf.matmul(w2[:, None, :], hidden), 2) + b2[:, None]
    filled = tf.cast(mask, history.dtype)[:, None, :]
    if normalization == "softmax":
        # For an empty history the softmax is meaningless; the mask sets its weights to 0.
        return hidden, tf.nn.softmax(logits + (filled - 1) * 1e9) * filled
    result = tf.sigmoid(logits) * filled
    if normalization == "length":
        result /= tf.maximum(tf.reduce_sum(filled, axis=2, keepdims=True), 1)
    return hidden, result


def _with_ones(history: tf.Tensor) -> tf.Tensor:
    return tf.pad(history, [[0, 0], [0, 0], [0, 1]], constant_values=1)
