"""Extra candidates: which ones may count, and what the softmax loss is."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from model.layers import in_batch_negatives


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 12), items=st.integers(1, 9), width=st.integers(0, 5), seed=st.integers(0)
)
def test_never_the_own_target_nor_an_item_of_the_history(rows, items, width, seed):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, items, rows)
    history = rng.integers(0, items, (rows, width))
    length = rng.integers(0, width + 1, rows)
    drawn, allowed = in_batch_negatives.draw(
        tf.constant(targets),
        tf.constant(history),
        tf.constant(length),
        4,
        tf.constant([1, seed % 97]),
    )
    assert drawn.shape == allowed.shape == (rows, 4)
    for row in range(rows):
        mine = {targets[row], *history[row][: length[row]]}
        for item, counts in zip(drawn.numpy()[row], allowed.numpy()[row], strict=True):
            assert item in targets
            assert counts == (item not in mine)


def test_drawn_from_all_other_rows_alike_and_the_same_for_a_seed():
    targets = tf.range(8, dtype=tf.int64)
    history, length = tf.zeros([8, 0], tf.int64), tf.zeros([8], tf.int64)
    drawn, allowed = in_batch_negatives.draw(targets, history, length, 7000, tf.constant([3, 4]))
    assert allowed.numpy().all()
    counts = np.stack([np.bincount(row, minlength=8) for row in drawn.numpy()])
    assert not np.diag(counts).any()
    assert (np.abs(counts[~np.eye(8, dtype=bool)] - 1000) < 150).all()
    again, _ = in_batch_negatives.draw(targets, history, length, 7000, tf.constant([3, 4]))
    other, _ = in_batch_negatives.draw(targets, history, length, 7000, tf.constant([3, 5]))
    np.testing.assert_array_equal(drawn, again)
    assert (drawn.numpy() != other.numpy()).any()


def test_loss_is_the_mean_over_positive_rows():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(5, 4)), np.array([1, 0, 1, 0, 1])
    allowed = rng.random((5, 3)) < 0.6
    allowed[4] = False
    losses = []
    for row in (0, 2, 4):
        kept = [logits[row, 0], *logits[row, 1:][allowed[row]]]
        losses.append(np.log(np.sum(np.exp(kept))) - logits[row, 0])
    got = in_batch_negatives.softmax_loss(
        tf.constant(logits), tf.constant(allowed), tf.constant(labels)
    )
    assert float(got) == pytest.approx(np.mean(losses), rel=1e-9)
    assert losses[2] == pytest.approx(0.0, abs=1e-12)  # no other candidate


def test_a_batch_without_positive_rows_has_no_loss_and_no_gradient():
    logits = tf.Variable(np.random.default_rng(0).normal(size=(3, 5)))
    with tf.GradientTape() as tape:
        loss = in_batch_negatives.softmax_loss(
            logits, tf.ones([3, 4], tf.bool), tf.zeros([3], tf.int64)
        )
    assert float(loss) == 0.0
    assert not tape.gradient(loss, logits).numpy().any()
