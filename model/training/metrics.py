"""Exact AUC, GAUC and log loss of scored samples, computed without thresholds."""

import numpy as np


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The area under the ROC curve.

    That is the share of pairs of a positive and a negative in which the positive has the
    higher score; a tie counts as half a pair (Mann and Whitney, 1947).

    Args:
      labels: `(N,)`, 1 or 0.
      scores: `(N,)`, finite.

    Returns:
      a number from 0 to 1, or NaN if all labels are the same.
    """
    positive = np.asarray(labels).astype(bool)
    _, inverse, count = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    # Rows with the same score share the mean of their ranks, which start at 1.
    rank = np.cumsum(count) - (count - 1) / 2
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    above = rank[inverse.reshape(-1)][positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def gauc(users: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean of the users' own AUCs, weighted by their rows (Zhou et al., 2018, section 5.2).

    Args:
      users: `(N,)`, any sortable ids. Users whose labels are all the same do not count.
      labels: `(N,)`, 1 or 0.
      scores: `(N,)`, finite.

    Returns:
      a number from 0 to 1, or NaN if no user counts.
    """
    order = np.lexsort((scores, users))
    users, scores = users[order], scores[order]
    positive = np.asarray(labels)[order].astype(bool)
    new_user = np.append(True, users[1:] != users[:-1])
    new_score = new_user | np.append(True, scores[1:] != scores[:-1])
    # Rows of a user with the same score share the mean of their ranks, which start at 1.
    tie, user = np.cumsum(new_score) - 1, np.cumsum(new_user) - 1
    ties, first = np.bincount(tie), np.flatnonzero(new_score)
    rank = (first + (ties + 1) / 2)[tie] - np.flatnonzero(new_user)[user]
    rows, positives = np.bincount(user), np.bincount(user, positive)
    counts = (positives > 0) & (positives < rows)
    if not counts.any():
        return float("nan")
    above = np.bincount(user, rank * positive) - positives * (positives + 1) / 2
    value = above[counts] / (positives * (rows - positives))[counts]
    return float(np.average(value, weights=rows[counts]))


def log_loss(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean cross-entropy, in nats, of logits `(N,)` with labels `(N,)`, 1 or 0."""
    logits = np.asarray(logits, np.float64)
    return float(np.mean(np.logaddexp(0.0, logits) - np.asarray(labels) * logits))
