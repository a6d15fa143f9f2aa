"""Attention, entropy and memory on samples whose values are known."""

import numpy as np
import pytest
import tensorflow as tf

from model.training.summaries.passes import EVENTS, Passes, entropy
from tests.support.batches import batch
from transforms import features


def test_entropy_is_1_for_even_weights_and_0_for_one_event():
    shares = np.zeros((3, 2, 4), np.float32)
    shares[0, 0, 1:] = 1 / 3  # three events, the first pass even, the second on one of them
    shares[0, 1, 3] = 1.0
    shares[1, :, 3] = 1.0  # a single event says nothing
    shares[2, 0, 2:] = [0.25, 0.75]
    shares[2, 1, 2:] = [0.5, -0.5]
    expected = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    got = entropy(shares, np.array([3, 1, 2]))
    np.testing.assert_allclose(got, [[1, 0], [expected, 1]], atol=1e-6)


def test_passes_follow_the_ranker(ranker):
    rows = batch(np.random.default_rng(0), rows=12, width=6)
    rows[features.USER] = tf.constant(np.arange(12) // 2)[:, None]
    passes = Passes(ranker, rows)
    shares = passes.shares()
    assert shares.shape == (12, 3, 6)
    sums = np.abs(shares).sum(axis=2)
    np.testing.assert_allclose(sums, np.repeat(passes.length[:, None] > 0, 3, axis=1), atol=1e-6)

    # A picture for each user, of a positive with many events where there is one.
    users = [row // 2 for row in passes.shown]
    assert len(set(users)) == len(users)
    for row in passes.shown:
        events = passes.events(row)
        assert len(events) == min(passes.length[row], EVENTS)
        items = rows[features.HISTORY_ITEM].numpy()[row]
        assert events.tolist() == items[: passes.length[row]].tolist()

    encoded = ranker.encode(rows)
    targets = ranker.encoder.candidates(tf.reshape(rows[features.TARGET_ITEM], [-1, 1]))
    memories = ranker.block.update.memories(encoded.history, encoded.mask, targets)
    one, two = (memory.numpy()[:, 0].astype(np.float64) for memory in memories[1:3])
    lengths = np.sqrt((one**2).sum(1) * (two**2).sum(1))
    expected = np.mean(1 - (one * two).sum(1) / lengths)
    change = passes.memory_change()
    assert sorted(change) == [f"memory_change/pass_{number}" for number in (1, 2, 3)]
    assert change["memory_change/pass_2"] == pytest.approx(expected, abs=1e-5)
