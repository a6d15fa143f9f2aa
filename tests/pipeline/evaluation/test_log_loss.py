"""The gain over a constant prediction against plain loops over rows."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation import log_loss, ranking_metrics

rows = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(0, 1)), min_size=1, max_size=30
)


def loss(data, chance=None):
    """Mean log loss of the rows' scores, or of one chance for all."""
    losses = [-math.log(p if y else 1 - p) for _, s, y in data for p in [chance or s / 10]]
    return sum(losses) / len(losses)


def columns(data):
    user, score, label = (np.array([row[k] for row in data]) for k in range(3))
    return user.astype(np.uint64), (score / 10).astype(np.float32), label.astype(np.int8)


@given(
    rows.filter(lambda data: len({row[2] for row in data}) == 2),
    st.integers(0, ranking_metrics.REPLICATES - 1),
)
@settings(max_examples=60, deadline=None)
def test_the_gain_is_that_of_the_rows_and_of_the_rows_repeated(data, b):
    got = log_loss.gain_over_constant(*columns(data))
    rate = sum(y for _, _, y in data) / len(data)
    assert got["constant_log_loss"] == pytest.approx(loss(data, rate))
    assert got["log_loss_gain"] == pytest.approx(loss(data, rate) - loss(data), abs=1e-6)
    times = ranking_metrics.user_weights(np.arange(5, dtype=np.uint64), b).astype(int)
    drawn = [row for row in data for _ in range(times[row[0]])]
    expected = loss(drawn, rate) - loss(drawn) if drawn else math.nan
    assert got["log_loss_gain_replicates"][b] == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_probabilities_that_are_too_sure_lose_to_a_constant_though_they_rank():
    rng = np.random.default_rng(0)
    user = np.arange(2_000, dtype=np.uint64)
    label = rng.integers(0, 2, 2_000).astype(np.int8)
    logit = label - 0.5 + rng.normal(size=2_000)
    calibrated, sure = (1 / (1 + np.exp(-logit * by)).astype(np.float32) for by in (1, 20))
    good, bad = (log_loss.gain_over_constant(user, score, label) for score in (calibrated, sure))
    assert ranking_metrics.auc(sure, label) > 0.7
    assert good["log_loss_gain"] > 0 > bad["log_loss_gain"]
    assert np.mean(bad["log_loss_gain_replicates"]) == pytest.approx(bad["log_loss_gain"], rel=0.05)


def test_the_order_of_rows_changes_no_bit():
    rng = np.random.default_rng(0)
    user = rng.integers(0, 50, 2_000).astype(np.uint64)
    score, label = rng.random(2_000).astype(np.float32), rng.integers(0, 2, 2_000).astype(np.int8)
    order = rng.permutation(2_000)
    one = log_loss.gain_over_constant(user, score, label)
    other = log_loss.gain_over_constant(user[order], score[order], label[order])
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_a_score_that_is_not_finite_and_no_rows_give_no_number():
    user, label = np.zeros(2, np.uint64), np.array([0, 1], np.int8)
    got = log_loss.gain_over_constant(user, np.array([0.1, np.nan], np.float32), label)
    assert got["constant_log_loss"] == pytest.approx(math.log(2))
    assert math.isnan(got["log_loss_gain"])
    assert np.isnan(got["log_loss_gain_replicates"]).all()
    empty = log_loss.gain_over_constant(user[:0], np.zeros(0, np.float32), label[:0])
    assert math.isnan(empty["constant_log_loss"])
    assert math.isnan(empty["log_loss_gain"])
