"""The fit against known parameters, and what it must never do."""

import numpy as np
import pytest

from model import calibration
from pipeline.evaluation import ranking_metrics


def drawn(scale, bias, rows=200_000):
    """Logits, and labels whose probabilities are σ(scale · logit + bias)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0.3, 2.0, rows)
    chance = 1 / (1 + np.exp(-(scale * logits + bias)))
    return (rng.random(rows) < chance).astype(np.int64), logits


@pytest.mark.parametrize(("scale", "bias"), [(1.0, 0.0), (0.3, -0.7), (2.0, 1.0)])
def test_the_parameters_that_made_the_labels_are_found(scale, bias):
    fitted = calibration.fit(*drawn(scale, bias))
    assert fitted.scale == pytest.approx(scale, rel=0.02)
    assert fitted.bias == pytest.approx(bias, abs=0.02)


def test_calibrated_probabilities_sum_to_the_labels_and_keep_their_order():
    labels, logits = drawn(0.25, 0.5, 5_000)
    fitted = calibration.fit(labels, logits)
    probability = 1 / (1 + np.exp(-(fitted.scale * logits + fitted.bias)))
    assert probability.sum() == pytest.approx(labels.sum(), rel=1e-4)
    assert (np.argsort(probability) == np.argsort(logits)).all()
    before = ranking_metrics.row_log_loss(1 / (1 + np.exp(-logits)), labels).mean()
    assert ranking_metrics.row_log_loss(probability, labels).mean() < before - 0.1


def test_scores_worse_than_chance_keep_their_order_too():
    labels, logits = drawn(-1.0, 0.0, 5_000)
    fitted = calibration.fit(labels, logits)
    assert 0 < fitted.scale < 0.01
    assert calibration.fit(np.array([0, 1]), np.array([-1.0, 1.0])).scale < 1_100  # separable
