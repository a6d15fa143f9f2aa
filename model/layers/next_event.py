"""The loss of telling the next event of a history from another user's."""

import tensorflow as tf


def next_event_loss(states: tf.Tensor, events: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean loss of telling the next event from the next row's, over all that have both.

    DIEN's auxiliary loss, `−mean(log σ(h_t·e_{t+1}) + log(1 − σ(h_t·ê_{t+1})))`, with
    the event at the same place of the next row for ê (arXiv 1809.03672, eq. 8). No items
    are drawn: the next row of a shuffled batch is another user's, nearly always.

    Args:
      states: h `(B, L, D)`, L at least 1.
      events: e `(B, L, D)`.
      mask: `(B, L)`, True where there is an event.

    Returns:
      a scalar; 0 where no state has a next event of its own and of another row.
    """
    # `tf.slice` has a pad as its gradient, which takes less time than that of `[:, 1:]`.
    now = tf.slice(states, [0, 0, 0], [-1, tf.shape(states)[1] - 1, -1])
    following = tf.slice(events, [0, 1, 0], [-1, -1, -1])
    other = tf.roll(following, 1, axis=0)
    both = mask[:, :-1] & mask[:, 1:] & tf.roll(mask, 1, axis=0)[:, 1:]
    # A batch of one has no other row.
    both = tf.cast(both & (tf.shape(events)[0] > 1), events.dtype)
    right = tf.reduce_sum(now * following, axis=-1)
    wrong = tf.reduce_sum(now * other, axis=-1)
    losses = tf.nn.softplus(-right) + tf.nn.softplus(wrong)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * both), tf.reduce_sum(both))
