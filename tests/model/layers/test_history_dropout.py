"""Histories with events left out: which ones may go, how many, and that nothing else changes."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from model import presets
from model.layers import history_dropout
from model.ranker import build_ranker
from model.scorer import DataSpec
from model.training.optimizer import LazyAdam
from transforms import features


def inputs(items, elapsed, length):
    return {
        features.HISTORY_ITEM: tf.constant(items),
        features.HISTORY_ELAPSED: tf.constant(elapsed),
        features.HISTORY_LENGTH: tf.constant(length),
        features.LABEL: tf.constant([[1]] * len(items)),
    }


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 6), width=st.integers(0, 9), seed=st.integers(0, 1000))
def test_what_is_kept_is_in_its_order_with_its_times(rows, width, seed):
    rng = np.random.default_rng(seed)
    items = np.argsort(rng.random((rows, width)), axis=1) + 1  # no item twice
    length = rng.integers(0, width + 1, (rows, 1))
    made = history_dropout.thin(inputs(items, items * 10, length), 1.0, tf.constant([3, seed]))
    assert made[features.HISTORY_LENGTH].shape == (rows, 1)
    assert made[features.LABEL].shape == (rows, 1)
    for row in range(rows):
        kept = int(made[features.HISTORY_LENGTH][row, 0])
        before = items[row, : length[row, 0]].tolist()
        after = made[features.HISTORY_ITEM][row, :kept].numpy().tolist()
        assert after == [item for item in before if item in after]
        elapsed = made[features.HISTORY_ELAPSED][row, :kept].numpy().tolist()
        assert elapsed == [10 * item for item in after]


@pytest.mark.parametrize("highest", [0.0, 0.4, 1.0])
def test_shares_are_uniform_up_to_the_highest(highest):
    rows, width = 4000, 400
    items = np.tile(np.arange(1, width + 1), (rows, 1))
    given = inputs(items, items, np.full(rows, width))  # lengths (B,), as some callers have
    made = history_dropout.thin(given, highest, tf.constant([1, 2]))
    left_out = 1 - made[features.HISTORY_LENGTH].numpy() / width
    found = np.quantile(left_out, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(found, highest * np.array([0.1, 0.5, 0.9]), atol=0.03)
    assert left_out.min() < 0.03 * highest + 1e-9
    # Old and recent events go alike, one by one and not as a block.
    items, count = (made[name].numpy() for name in (features.HISTORY_ITEM, features.HISTORY_LENGTH))
    kept = items[np.arange(width) < count[:, None]]
    for_place = np.bincount(kept, minlength=width + 1)[1:] / rows
    np.testing.assert_allclose(for_place, 1 - highest / 2, atol=0.05)
    half = np.argmin(np.abs(left_out - highest / 2))
    gaps = np.diff(items[half, : count[half]])
    assert (gaps > 1).sum() >= 20 * highest


def test_the_same_seed_leaves_out_the_same():
    items = np.arange(1, 201).reshape(4, 50)
    given = inputs(items, items, np.full((4, 1), 50))
    first, again, other = (
        history_dropout.thin(given, 1.0, tf.constant([1, seed]))[features.HISTORY_ITEM].numpy()
        for seed in (2, 2, 3)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def ranker(**recipe):
    config, made = presets.resolve(
        "imn_2p", "embedding_dim=8,head_units=8", {"table_initial_scale": 0.5, **recipe}
    )
    tf.keras.utils.set_random_seed(5)
    built = build_ranker(config, DataSpec(40, 9), made)
    built.optimizer = LazyAdam(0.1, 0.1)
    built.optimizer.build(built.trainable_variables)
    return built


def batch():
    """Eight rows, each with all other rows' targets in its history."""
    targets = np.arange(1, 9)
    others = np.array([[each for each in targets if each != own] for own in targets])
    given = inputs(others, others, np.full((8, 1), 7))
    given[features.LABEL] = tf.constant(np.arange(8)[:, None] % 2)
    return {**given, features.TARGET_ITEM: tf.constant(targets[:, None])}


def test_each_step_leaves_out_anew_and_the_same_after_a_restart():
    first, again = ranker(history_dropout=1.0), ranker(history_dropout=1.0)
    losses = []
    for step in (0, 1, 2):
        for each in (first, again):
            each.optimizer.iterations.assign(step)
            losses.append(float(each.loss_and_logits(batch(), training=True)[0].total))
    assert losses[::2] == losses[1::2]
    assert len(set(losses[::2])) == 3


def test_only_training_leaves_out():
    whole, thinned = ranker(extra_candidates=0), ranker(extra_candidates=0, history_dropout=1.0)
    for training in (False, True):
        (loss, *_), (other, *_) = (
            each.loss_and_logits(batch(), training=training)[0] for each in (whole, thinned)
        )
        assert np.isclose(loss, other, rtol=1e-6) == (not training)


def test_an_event_that_is_left_out_is_still_no_negative():
    """All that could be drawn is in the histories, so that nothing is left for a softmax."""
    plain, drawing = (ranker(extra_candidates=n, history_dropout=1.0) for n in (0, 4))
    (loss, *_), (other, *_) = (
        each.loss_and_logits(batch(), training=True)[0] for each in (plain, drawing)
    )
    np.testing.assert_allclose(other, loss, rtol=1e-5)
