"""How much better a model's log loss is than that of a constant prediction, in NumPy.

The constant is the positive rate of the same rows: the best prediction that is the same for all.
AUC sees only the order of scores. A model that does not beat the constant may rank well, but its
scores are no probabilities.
"""

import math
from typing import Any

import numpy as np

from pipeline.evaluation import ranking_metrics


def gain_over_constant(user: np.ndarray, score: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    """Compares a model with the constant on one slice, independent of the order of the rows.

    Args:
      user: uint64 hashes of the rows' users `(N,)`.
      score: probabilities `(N,)`.
      label: 0 or 1 `(N,)`.

    Returns:
      `constant_log_loss`: of the constant, in nats. `log_loss_gain`: by how much the model's log
      loss is below it. `log_loss_gain_replicates`: the same per bootstrap replicate `(200,)`, with
      the users of `ranking_metrics.user_weights` and the constant of all rows. NaN without rows,
      and all but the first NaN if a score is not finite.
    """
    order = np.lexsort((label, score, user))
    user, score, label = user[order], score[order].astype(np.float64), label[order]
    users, row_user, rows = np.unique(user, return_inverse=True, return_counts=True)
    rate = label.mean() if len(label) else math.nan
    constant = ranking_metrics.row_log_loss(np.full(len(label), rate), label)
    gain = np.bincount(row_user, constant - ranking_metrics.row_log_loss(score, label), len(users))
    replicates = np.full(ranking_metrics.REPLICATES, math.nan)
    for b in range(ranking_metrics.REPLICATES):
        weight = ranking_metrics.user_weights(users, b)
        if weight.any():
            replicates[b] = weight @ gain / (weight @ rows)
    return {
        "constant_log_loss": float(constant.mean()) if len(label) else math.nan,
        "log_loss_gain": float(gain.sum() / len(label)) if len(label) else math.nan,
        "log_loss_gain_replicates": replicates,
    }
