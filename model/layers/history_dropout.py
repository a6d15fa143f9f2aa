"""Histories with events left out: another sample of the same user in every epoch."""

import tensorflow as tf

from transforms import features


def thin(inputs: dict[str, tf.Tensor], highest: float, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """Leaves out events of every history, of each row another share.

    A row's share is drawn uniformly from 0 to `highest`, and each of its events goes
    with that probability, so that some rows keep nearly all and late positions are
    trained too. What is kept moves together, in its order: a block sees a shorter
    history and no holes, and positions count what was kept.

    Args:
      inputs: transformed features, histories `(B, L)` padded on the right.
      highest: from 0 to 1.
      seed: two integers; the same ones leave out the same.

    Returns:
      the features, with `history_item`, `history_elapsed` and `history_length` made anew.
    """
    length = inputs[features.HISTORY_LENGTH]
    shape = tf.shape(inputs[features.HISTORY_ITEM])
    for_share, for_events = tf.unstack(tf.random.experimental.stateless_split(seed))
    share = highest * tf.random.stateless_uniform([shape[0], 1], for_share)
    kept = tf.random.stateless_uniform(shape, for_events) >= share
    kept &= tf.sequence_mask(tf.reshape(length, [-1]), shape[1])
    order = tf.argsort(tf.cast(~kept, tf.int32), axis=1, stable=True)
    thinned = dict(inputs)
    for name in (features.HISTORY_ITEM, features.HISTORY_ELAPSED):
        if name in inputs:
            thinned[name] = tf.gather(inputs[name], order, batch_dims=1)
    count = tf.reduce_sum(tf.cast(kept, length.dtype), axis=1)
    thinned[features.HISTORY_LENGTH] = tf.reshape(count, tf.shape(length))
    return thinned
