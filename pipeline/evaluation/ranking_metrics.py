"""Exact AUC and GAUC of scored rows, and their bootstrap over users, in NumPy.

AUC is the probability that a positive row scores above a negative one; a tie counts one half.
It is computed from ranks, because a fixed number of thresholds is inexact for saturated scores.
GAUC is the mean over users of each user's AUC, weighted by the user's rows ("impressions"; Zhou
et al., 2018, arXiv 1706.06978, section 5.2).
"""

import math
from typing import Any

import numpy as np

REPLICATES = 200
# Keras' epsilon: the log loss of a saturated score is 16, not infinity.
_EPSILON = 1e-7
# Inverse distribution function of Poisson(1) on 64-bit hashes; 18 and more do not occur.
_POISSON = np.array(
    [
        min(int(sum(math.exp(-1) / math.factorial(j) for j in range(k + 1)) * 2.0**64), 2**64 - 1)
        for k in range(18)
    ],
    dtype=np.uint64,
)


def auc(score: np.ndarray, label: np.ndarray) -> float:
    """Exact AUC of scores `(N,)` for labels `(N,)` of 0 and 1; NaN if one class is missing."""
    return _Ranked(score, label).auc(np.ones(len(label)))


def gauc(user: np.ndarray, score: np.ndarray, label: np.ndarray) -> float:
    """GAUC of scores `(N,)` for labels `(N,)`; `user` `(N,)` holds any sortable ids.

    Users with one class are skipped. NaN if no user is left.
    """
    value, rows = _auc_of_users(np.unique(user, return_inverse=True)[1], score, label)
    return _weighted_mean(value, rows)


def ranking_metrics(user: np.ndarray, score: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    """Metrics of one model on one slice, independent of the order of the rows.

    Cost of a million rows, measured on one core: 126 MB beside the arguments and 9 s with 2 rows a
    user, 108 MB and 6 s with 20. Both grow with the rows; `tfma_metric` therefore samples users.

    Args:
      user: uint64 hashes of the rows' users `(N,)`.
      score: probabilities `(N,)`.
      label: 0 or 1 `(N,)`.

    Returns:
      `rows`, `users`, `users_counted` and `users_skipped` (those with one
      class), `auc`, `gauc`, `log_loss` (in nats, scores clipped to 1e-7),
      `calibration` (sum of scores / sum of labels) and, per bootstrap
      replicate, `auc_replicates` and `gauc_replicates` `(200,)`. A replicate
      draws users by `user_weights`. AUC and GAUC are NaN for a single class; all metrics are
      NaN if a score is not finite.
    """
    order = np.lexsort((label, score, user))
    user, score, label = user[order], score[order].astype(np.float64), label[order]
    users, row_user = np.unique(user, return_inverse=True)
    value, rows = _auc_of_users(row_user, score, label)
    counted = np.isfinite(value)
    ranked = _Ranked(score, label)
    row_user = row_user[ranked.order]
    replicates = np.empty((2, REPLICATES))
    for b in range(REPLICATES):
        weight = user_weights(users, b)
        replicates[:, b] = ranked.auc(weight[row_user]), _weighted_mean(value, rows * weight)
    loss = row_log_loss(score, label)
    positives = label.sum()
    return {
        "rows": len(label),
        "users": len(users),
        "users_counted": int(counted.sum()),
        "users_skipped": int((~counted).sum()),
        "auc": ranked.auc(np.ones(len(label))),
        "gauc": _weighted_mean(value, rows),
        "log_loss": float(loss.mean()) if len(label) else math.nan,
        "calibration": float(score.sum() / positives) if positives else math.nan,
        "auc_replicates": replicates[0],
        "gauc_replicates": replicates[1],
    }


def row_log_loss(score: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Log loss of each row `(N,)` in nats, for probabilities `(N,)` clipped to 1e-7."""
    chance = np.clip(score, _EPSILON, 1 - _EPSILON)
    return -np.where(label == 1, np.log(chance), np.log1p(-chance))


def user_weights(users: np.ndarray, replicate: int) -> np.ndarray:
    """How often a bootstrap replicate draws each user `(U,)`: Poisson(1), float64 `(U,)`.

    Depends only on the user's hash and the replicate's number, so that the replicates of two
    models draw the same users: their difference is a paired bootstrap.
    """
    salt = mix(np.array([replicate + 1], dtype=np.uint64))
    return np.searchsorted(_POISSON, mix(users ^ salt), side="right").astype(np.float64)


def mix(x: np.ndarray) -> np.ndarray:
    """Hashes of uint64 values of any shape: the finalizer of splitmix64 (Steele et al., 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class _Ranked:
    """Rows sorted by score, so that AUC with other row weights costs one pass."""

    def __init__(self, score: np.ndarray, label: np.ndarray) -> None:
        self.order = np.argsort(score, kind="stable")
        self._finite = bool(np.isfinite(score).all())
        self._negative = (label[self.order] != 1).astype(np.float64)
        ties = _starts(score[self.order]) if len(score) else self.order
        self._ties = ties if len(ties) < len(score) else None

    def auc(self, weight: np.ndarray) -> float:
        """AUC with row weights `(N,)` in the order of `order`; NaN if a class has no weight."""
        if not self._finite or not len(weight):
            return math.nan
        negative = weight * self._negative
        positive = weight - negative
        if self._ties is not None:
            positive = np.add.reduceat(positive, self._ties)
            negative = np.add.reduceat(negative, self._ties)
        below = np.cumsum(negative)
        pairs = positive.sum() * below[-1]
        return float((positive @ below - positive @ negative / 2) / pairs) if pairs else math.nan


def _auc_of_users(
    user: np.ndarray, score: np.ndarray, label: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """AUC (NaN for a single class) and rows of each user; `user` numbers them from 0."""
    if not len(user):
        return np.zeros(0), np.zeros(0)
    order = np.lexsort((score, user))
    user, score, positive = user[order], score[order], label[order] == 1
    ties = np.union1d(_starts(user), _starts(score))
    starts = np.searchsorted(ties, _starts(user))
    tied_positives = np.add.reduceat(positive.astype(np.float64), ties)
    tied_negatives = np.add.reduceat((~positive).astype(np.float64), ties)
    positives = np.add.reduceat(tied_positives, starts)
    negatives = np.add.reduceat(tied_negatives, starts)
    before = np.repeat(np.cumsum(negatives) - negatives, np.diff(np.append(starts, len(ties))))
    below = np.cumsum(tied_negatives) - before - tied_negatives / 2
    wins = np.add.reduceat(tied_positives * below, starts)
    pairs = positives * negatives
    value = np.full(len(pairs), math.nan)
    np.divide(wins, pairs, out=value, where=pairs > 0)
    if not np.isfinite(score).all():
        value[:] = math.nan
    return value, positives + negatives


def _starts(values: np.ndarray) -> np.ndarray:
    """Start of each run of equal values; `values` must not be empty."""
    return np.flatnonzero(np.append(True, values[1:] != values[:-1]))


def _weighted_mean(value: np.ndarray, weight: np.ndarray) -> float:
    """Weighted mean of the finite values; NaN if their weights sum to 0."""
    weight = np.where(np.isfinite(value), weight, 0.0)
    total = weight.sum()
    return float(np.where(np.isfinite(value), value, 0.0) @ weight / total) if total else math.nan
