"""Exact metrics of scored samples: no thresholds, ties counted as halves."""

import numpy as np


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The share of pairs (positive, negative) in the right order, a tie being half.

    Args:
      labels: `(N,)`, 1 or 0.
      scores: `(N,)`, finite.

    Returns:
      the area under the ROC curve; NaN where one class is missing.
    """
    positive = np.asarray(labels).astype(bool)
    _, place, count = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    # The mean rank, from 1, of all rows that share a score.
    rank = np.cumsum(count) - (count - 1) / 2
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    above = rank[place.reshape(-1)][positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def log_loss(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean cross-entropy in nats of logits `(N,)`."""
    logits = np.asarray(logits, np.float64)
    return float(np.mean(np.logaddexp(0.0, logits) - np.asarray(labels) * logits))
