"""Id dropout: the share of hidden items, all places of an item alike, by the seed alone."""

import numpy as np
import tensorflow as tf

from model.layers import id_dropout
from transforms import features


def batch(rows=200, length=30, items=5_000):
    rng = np.random.default_rng(0)
    return {
        features.HISTORY_ITEM: tf.constant(rng.integers(0, items, (rows, length)), tf.int64),
        features.TARGET_ITEM: tf.constant(rng.integers(1, items, (rows, 1)), tf.int64),
        features.LABEL: tf.ones([rows, 1], tf.int64),
    }


def hidden(rate, seed=(1, 2)):
    """The hidden ids and the others."""
    inputs = batch()
    result = id_dropout.hide(inputs, rate, tf.constant(seed, tf.int64))
    assert result[features.LABEL] is inputs[features.LABEL]
    found = {True: set(), False: set()}
    for name in (features.HISTORY_ITEM, features.TARGET_ITEM):
        np.testing.assert_array_equal(np.abs(result[name]), inputs[name])
        values = result[name].numpy().reshape(-1)
        found[True] |= set((-values[values < 0]).tolist())
        found[False] |= set(values[values > 0].tolist())
    return found[True], found[False]


def test_an_item_is_hidden_in_all_places_or_in_none():
    away, there = hidden(0.3)
    assert not away & there
    # 3,500 distinct items: three standard deviations of a share are 2.3 points.
    assert abs(len(away) / len(away | there) - 0.3) < 0.025


def test_the_seed_decides():
    assert hidden(0.5) == hidden(0.5)
    one, two = hidden(0.5)[0], hidden(0.5, (1, 3))[0]
    # Two independent draws of half of the items share a quarter of all.
    assert 0.45 < len(one & two) / len(one) < 0.55


def test_none_and_all():
    assert not hidden(0.0)[0]
    assert not hidden(1.0)[1]
