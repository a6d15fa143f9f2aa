"""History dropout: drops random events of each history, other ones in every epoch."""

import tensorflow as tf

from transforms import features


def thin(inputs: dict[str, tf.Tensor], highest: float, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """Drops events of every history.

    Each row has its own rate, drawn uniformly from 0 to `highest`, so that some rows keep almost
    all events and late positions are trained too. The remaining events close ranks in their order:
    the history becomes shorter and has no holes, and positions count the remaining events.

    Args:
      inputs: transformed features, histories `(B, L)` padded on the right.
      highest: largest rate, from 0 to 1.
      seed: two integers; the same seed drops the same events.

    Returns:
      the features with new `history_length` and new values of each event.
    """
    length = inputs[features.HISTORY_LENGTH]
    shape = tf.shape(inputs[features.HISTORY_ITEM])
    rate_seed, event_seed = tf.unstack(tf.random.experimental.stateless_split(seed))
    rate = highest * tf.random.stateless_uniform([shape[0], 1], rate_seed)
    kept = tf.random.stateless_uniform(shape, event_seed) >= rate
    kept &= tf.sequence_mask(tf.reshape(length, [-1]), shape[1])
    order = tf.argsort(tf.cast(~kept, tf.int32), axis=1, stable=True)
    result = dict(inputs)
    for name, values in features.of_each_event(inputs).items():
        result[name] = tf.gather(values, order, batch_dims=1)
    count = tf.reduce_sum(tf.cast(kept, length.dtype), axis=1)
    result[features.HISTORY_LENGTH] = tf.reshape(count, tf.shape(length))
    return result
