"""The loss of telling the next event of a history from another user's."""

import tensorflow as tf


def next_event_loss(states: tf.Tensor, events: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean loss of telling the next event from another row's, over all that have both.

    DIEN's auxiliary loss, `−mean(log σ(h_t·e_{t+1}) + log(1 − σ(h_t·ê_{t+1})))`, with
    the event at the same place of the row before for ê (arXiv 1809.03672, eq. 8). No
    items are drawn: rows come shuffled, so that the other row is another user's nearly
    always. What is next in a thinned history is the next event that was kept.

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
    filled = tf.cast(mask, events.dtype)
    both = filled[:, :-1] * filled[:, 1:] * tf.roll(filled, 1, axis=0)[:, 1:]
    # A batch of one has no other row.
    both *= tf.cast(tf.shape(events)[0] > 1, events.dtype)
    right = tf.reduce_sum(now * following, axis=-1)
    wrong = tf.reduce_sum(now * other, axis=-1)
    losses = tf.nn.softplus(-right) + tf.nn.softplus(wrong)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * both), tf.reduce_sum(both))
