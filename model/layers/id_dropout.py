"""Id dropout: in training, some items of a batch are known by their attributes alone.

So the shared row of new items is trained, and the model learns to read attributes where an id
would be enough.
"""

import tensorflow as tf

from transforms import features

# Odd constants of SplitMix64's finalizer (Steele, Lea, Flood 2014), as int64.
_M1, _M2 = -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15


def hide(inputs: dict[str, tf.Tensor], rate: float, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """Hides the ids of a random share of the items, each in all its places of the batch.

    Args:
      inputs: transformed features.
      rate: share of the items, from 0 to 1.
      seed: two integers; the same seed hides the same items.

    Returns:
      the features, in which a hidden item has the negative of its id: the encoder takes the row of
      new items for it, and its own attributes.
    """
    salt = tf.random.stateless_uniform([], seed, None, None, tf.int64)
    result = dict(inputs)
    for name in (features.HISTORY_ITEM, features.TARGET_ITEM):
        ids = inputs[name]
        result[name] = tf.where(_share(ids, salt) < rate, -ids, ids)
    return result


def _share(ids: tf.Tensor, salt: tf.Tensor) -> tf.Tensor:
    """Pseudo-random numbers in [0, 1) that depend on id and salt alone."""
    mixed = ids ^ salt
    for shift, factor in ((30, _M1), (27, _M2), (31, 1)):
        high = tf.bitwise.right_shift(mixed, tf.constant(shift, tf.int64))
        high &= (1 << (64 - shift)) - 1  # the shift of int64 copies the sign
        mixed = (mixed ^ high) * factor
    return tf.cast(mixed & ((1 << 24) - 1), tf.float32) / float(1 << 24)
