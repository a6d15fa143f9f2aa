"""The curves against plain loops over thresholds and bins."""

import numpy as np
import pytest

from pipeline.evaluation import ranking_metrics
from pipeline.evaluation.diagnostics import curves


def by_thresholds(score, label):
    """All points (false, true positive rate) of a ROC, from (0, 0) to (1, 1)."""
    positives, negatives = (label == 1).sum(), (label == 0).sum()
    points = [(0.0, 0.0)]
    for threshold in sorted(set(score.tolist()), reverse=True):
        above = score >= threshold
        points.append(
            ((above & (label == 0)).sum() / negatives, (above & (label == 1)).sum() / positives)
        )
    return points


@pytest.mark.parametrize("decimals", [1, 2, 12])
def test_the_roc_goes_through_the_points_of_all_thresholds(decimals):
    rng = np.random.default_rng(decimals)
    label = rng.integers(0, 2, 400)
    score = np.round(rng.uniform(0, 0.6, 400) + 0.4 * label * rng.uniform(size=400), decimals)
    roc = curves.curves(score.astype(np.float32), label)[curves.ROC]
    points = by_thresholds(score.astype(np.float32), label)
    for rate, value in zip(np.linspace(0, 1, curves.POINTS), roc, strict=True):
        # Between the last point that is not right of the rate and the next one.
        left = [point for point in points if point[0] <= rate + 1e-9][-1]
        right = ([point for point in points if point[0] > rate + 1e-9] or [left])[0]
        share = (rate - left[0]) / (right[0] - left[0]) if right[0] > left[0] else 0.0
        assert value == pytest.approx(left[1] + max(share, 0) * (right[1] - left[1]), abs=1e-6)
    assert (np.diff(roc) >= -1e-12).all()
    assert roc[-1] == 1.0


def test_the_area_under_the_roc_is_the_auc():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 20_000)
    score = rng.beta(2 + label, 3 - label)
    roc = curves.curves(score, label)[curves.ROC]
    area = ((roc[1:] + roc[:-1]) / 2).mean()
    assert area == pytest.approx(ranking_metrics.auc(score, label), abs=2e-3)


def test_bins_of_scores_worked_by_hand():
    score = np.array([0.0, 0.049, 0.05, 0.5, 0.999, 1.0], np.float32)
    label = np.array([0, 1, 1, 0, 1, 1])
    found = curves.curves(score, label)
    expected = {0: (2, 1, 0.049), 1: (1, 1, 0.05), 10: (1, 0, 0.5), 19: (2, 2, 1.999)}
    for part in range(curves.BINS):
        rows, positives, total = expected.get(part, (0, 0, 0.0))
        assert found[curves.ROWS][part] == rows
        assert found[curves.POSITIVES][part] == positives
        assert found[curves.SCORES][part] == pytest.approx(total, abs=1e-6)


def test_undefined_curves_are_nan_and_keep_their_shape():
    one_class = curves.curves(np.array([0.2, 0.4]), np.array([1, 1]))
    assert np.isnan(one_class[curves.ROC]).all()
    assert one_class[curves.ROWS].sum() == 2
    broken = curves.curves(np.array([0.2, np.nan]), np.array([0, 1]))
    assert {len(values) for values in broken.values()} == {curves.POINTS, curves.BINS}
    assert all(np.isnan(values).all() for values in broken.values())
    assert np.isnan(curves.curves(np.zeros(0), np.zeros(0, int))[curves.ROC]).all()
