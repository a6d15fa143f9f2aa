"""Attention by position and age, worked by hand on two histories."""

import numpy as np
import pytest

from pipeline.evaluation.diagnostics.attention import attention, relative
from pipeline.evaluation.diagnostics.explained import Explained

DAY = 86_400
NOW = 1_400_000_000


def explained(weights, lengths, days):
    """Histories of width 4; `days` are the ages of their events, oldest first."""
    times = np.zeros((len(lengths), 4), np.int64)
    for row, ages in enumerate(days):
        times[row, : len(ages)] = [NOW - age * DAY for age in ages]
    return Explained(
        items=np.full((len(lengths), 4), b"x"),
        times=times,
        length=np.array(lengths),
        target=np.array([b"t"] * len(lengths)),
        target_time=np.full(len(lengths), NOW),
        weights=np.array(weights, np.float32),
    )


# One pass. Of four events the newest has 5/8 of all weight; of two events both have the same.
ROWS = explained(
    [[[0.1, 0.1, 0.1, 0.5]], [[0.02, 0.02, 0, 0]]], [4, 2], [(400, 40, 8, 0.5), (100, 100)]
)


def test_by_position_and_age():
    found = attention(ROWS)
    assert (found["rows"], found["passes"]) == (2, 1)
    by_position = {group["from"]: group for group in found["by_position"]}
    assert sorted(by_position) == [1, 2, 3]
    # The newest event: 4 · 5/8 = 2.5 of an average one, and 1.
    assert by_position[1]["weight"] == pytest.approx([(2.5 + 1) / 2])
    assert by_position[1]["share"] == pytest.approx([(5 / 8 + 1 / 2) / 2])
    assert by_position[2]["weight"] == pytest.approx([(0.5 + 1) / 2])
    assert by_position[3]["events"] == 2
    assert by_position[3]["weight"] == pytest.approx([0.5])
    assert by_position[3]["share"] == pytest.approx([(2 / 8 + 0) / 2])
    by_age = {group["from"]: group for group in found["by_age"]}
    assert {low: group["events"] for low, group in by_age.items()} == {
        0: 1,
        7: 1,
        30: 1,
        90: 2,
        365: 1,
    }
    assert by_age[90]["weight"] == pytest.approx([1.0])
    assert by_age[0]["weight"] == pytest.approx([2.5])


def test_shares_add_up_and_the_mean_weight_is_one():
    rng = np.random.default_rng(0)
    length = rng.integers(0, 5, 50)
    weights = rng.uniform(-1, 1, (50, 3, 4)) * (np.arange(4) < length[:, None])[:, None]
    days = [sorted(rng.integers(0, 2_000, n).tolist(), reverse=True) for n in length]
    found = attention(explained(weights, length, days))
    for kind in ("by_position", "by_age"):
        shares = np.sum([group["share"] for group in found[kind]], axis=0)
        np.testing.assert_allclose(shares, 1.0)
        events = np.array([group["events"] for group in found[kind]])
        mean = events @ np.array([group["weight"] for group in found[kind]]) / length.sum()
        np.testing.assert_allclose(mean, 1.0)
    assert (relative(weights) >= 0).all()


def test_without_passes_or_events_there_is_nothing_to_show():
    assert attention(explained(np.zeros((1, 0, 4)), [2], [(3, 1)])) is None
    assert attention(explained(np.zeros((1, 2, 4)), [0], [()])) is None
