"""Next-event loss: a state must score the next event above an event of another user."""

import tensorflow as tf


def next_event_loss(states: tf.Tensor, events: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """DIEN's auxiliary loss (arXiv 1809.03672, eq. 8).

    `−mean(log σ(h_t·e_{t+1}) + log(1 − σ(h_t·ê_{t+1})))`, where ê is the event at the same
    position of the previous row. Rows are shuffled, so that the previous row almost always belongs
    to another user. With history dropout the next event is the next remaining one.

    Args:
      states: h `(B, L, D)`, L at least 1.
      events: e `(B, L, D)`.
      mask: `(B, L)`, True for events.

    Returns:
      a scalar, the mean over the states that have a next event here and in the previous row; 0
      if there are none.
    """
    # The gradient of `tf.slice` is a pad, which is faster than the gradient of `[:, 1:]`.
    now = tf.slice(states, [0, 0, 0], [-1, tf.shape(states)[1] - 1, -1])
    following = tf.slice(events, [0, 1, 0], [-1, -1, -1])
    other = tf.roll(following, 1, axis=0)
    filled = tf.cast(mask, events.dtype)
    both = filled[:, :-1] * filled[:, 1:] * tf.roll(filled, 1, axis=0)[:, 1:]
    # A batch of one has no other row.
    both *= tf.cast(tf.shape(events)[0] > 1, events.dtype)
    right = tf.reduce_sum(now * following, axis=-1)
    wrong = tf.reduce_sum(now * other, axis=-1)
    losses = tf.nn.softplus(-right) + tf.nn.softplus(wrong)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * both), tf.reduce_sum(both))
