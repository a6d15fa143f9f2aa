"""In-batch negatives: targets of other rows as extra candidates."""

import tensorflow as tf


def draw(
    targets: tf.Tensor, history: tf.Tensor, length: tf.Tensor, count: int, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws extra candidates for every row from the targets of the other rows.

    Args:
      targets: int64 ids `(B,)`.
      history: int64 ids `(B, L)`, padded on the right.
      length: number of events in each history, `(B,)`.
      count: E, candidates for each row; they may repeat.
      seed: two integers; the same seed draws the same candidates.

    Returns:
      ids `(B, E)`, and `(B, E)` False for accidental hits: the target of the row, or an item of
      its history.
    """
    rows = tf.shape(targets)[0]
    others = tf.maximum(rows - 1, 1)
    steps = tf.random.stateless_uniform([rows, count], seed, 0, others, tf.int32)
    drawn = tf.gather(targets, (tf.range(rows)[:, None] + 1 + steps) % rows)
    filled = tf.sequence_mask(length, tf.shape(history)[1])
    seen = tf.where(filled, history, -tf.ones_like(history))
    known = tf.reduce_any(seen[:, :, None] == drawn[:, None, :], axis=1)
    return drawn, ~known & (drawn != targets[:, None])


def softmax_loss(logits: tf.Tensor, allowed: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean over the positive rows of `−log softmax(logits)_0`.

    Args:
      logits: `(B, 1 + E)`, the target of the row first.
      allowed: `(B, E)`, which of the extra candidates count.
      labels: `(B,)`; rows with label 0 are ignored.

    Returns:
      a scalar; 0 for a batch without positive rows.
    """
    own, others = logits[:, :1], logits[:, 1:]
    others = tf.where(allowed, others, tf.constant(-1e9, logits.dtype))
    losses = tf.reduce_logsumexp(tf.concat([own, others], axis=1), axis=1) - own[:, 0]
    labels = tf.cast(labels, logits.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * labels), tf.reduce_sum(labels))
