"""AUC and GAUC against the count of all pairs; log loss against its formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.training import metrics


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=1, max_size=40))
def test_auc_is_the_share_of_pairs_in_order(rows):
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    above = scores[labels][:, None] - scores[~labels][None, :]
    if above.size == 0:
        assert np.isnan(metrics.auc(labels, scores))
    else:
        expected = np.mean((above > 0) + 0.5 * (above == 0))
        assert metrics.auc(labels, scores) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.booleans(), st.integers(-3, 3)), min_size=1, max_size=40
    )
)
def test_gauc_is_the_mean_of_the_users_own_auc_by_their_rows(rows):
    users, labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    values = {}
    for user in set(users.tolist()):
        own, of = labels[users == user], scores[users == user]
        above = of[own][:, None] - of[~own][None, :]
        if above.size:
            values[user] = (np.mean((above > 0) + 0.5 * (above == 0)), len(own))
    got = metrics.gauc(users, labels, scores)
    if not values:
        assert np.isnan(got)
    else:
        counted = sum(count for _, count in values.values())
        expected = sum(value * count for value, count in values.values()) / counted
        assert got == pytest.approx(expected, abs=1e-12)


def test_auc_orders_saturated_scores():
    """All scores lie within 2e-5 of 1, where the 200 thresholds of Keras' AUC cannot."""
    rng = np.random.default_rng(0)
    labels = np.arange(2000) % 2
    scores = 1 - 1e-5 * rng.random(2000) * (2 - labels)
    above = scores[labels == 1][:, None] > scores[labels == 0][None, :]
    assert metrics.auc(labels, scores) == pytest.approx(above.mean(), abs=1e-12)


def test_log_loss_of_any_logit_is_finite():
    labels, logits = np.array([1, 0, 1, 0]), np.array([2.0, -1.0, -800.0, 800.0])
    expected = np.mean([np.log1p(np.exp(-2)), np.log1p(np.exp(-1)), 800, 800])
    assert metrics.log_loss(labels, logits) == pytest.approx(expected)
