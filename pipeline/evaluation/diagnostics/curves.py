"""ROC, calibration and distribution of the scores of one model, in NumPy.

All arrays have a fixed shape, so that those of many rows stay small and those of two models can be
laid over each other.
"""

import numpy as np

POINTS = 101  # of the ROC
BINS = 20  # of scores, all of the same width
ROC, ROWS, POSITIVES, SCORES = "roc", "rows_by_score", "positives_by_score", "score_sum_by_score"
NAMES = (ROC, ROWS, POSITIVES, SCORES)


def curves(score: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
    """The curves of scores `(N,)`, probabilities, for labels `(N,)` of 0 and 1.

    Returns:
      `roc`: the true positive rate `(101,)` at the false positive rates 0, .01, ... 1; between
      two thresholds that tie rows of both classes, the straight line. By bins of the score, 20 of
      width .05, the last one with 1: `rows_by_score`, `positives_by_score` and
      `score_sum_by_score` `(20,)`. All are NaN if a score is not finite, and `roc` if one class is
      missing.
    """
    if not np.isfinite(score).all():
        return {name: np.full(POINTS if name == ROC else BINS, np.nan) for name in NAMES}
    score = score.astype(np.float64)
    part = np.clip(np.floor(score * BINS).astype(np.int64), 0, BINS - 1)

    def by_score(weight: np.ndarray) -> np.ndarray:
        return np.bincount(part, weight, BINS)

    return {
        ROC: _roc(score, label),
        ROWS: by_score(np.ones(len(score))),
        POSITIVES: by_score(label.astype(np.float64)),
        SCORES: by_score(score),
    }


def _roc(score: np.ndarray, label: np.ndarray) -> np.ndarray:
    order = np.argsort(-score, kind="stable")
    positive = label[order] == 1
    if positive.all() or not positive.any():
        return np.full(POINTS, np.nan)
    last_of_tie = np.append(score[order][1:] != score[order][:-1], True)
    true, false = (
        np.append(0, np.cumsum(of_class)[last_of_tie] / of_class.sum())
        for of_class in (positive, ~positive)
    )
    rate = np.linspace(0.0, 1.0, POINTS)
    # The last threshold at or below each rate, and the next one.
    here = np.searchsorted(false, rate + 1e-12, side="right") - 1
    after = np.minimum(here + 1, len(false) - 1)
    width = false[after] - false[here]
    share = np.divide(rate - false[here], width, out=np.zeros(POINTS), where=width > 0)
    return true[here] + share.clip(0.0, 1.0) * (true[after] - true[here])
