"""Calibration: scores that are probabilities, although the kept weights have the best order.

Early stopping keeps the evaluation with the best AUC, and AUC sees only the order of the scores. By
then the model is often too sure of itself. Two numbers, fitted on eval, mend that and keep the
order: `p = σ(scale · logit + bias)` with scale > 0 (Platt 1999; Guo et al., arXiv 1706.04599).
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize, special


class Calibration(NamedTuple):
    """`p = σ(scale · logit + bias)`; without a fit, `p = σ(logit)`."""

    scale: float = 1.0
    bias: float = 0.0


def fit(labels: np.ndarray, logits: np.ndarray) -> Calibration:
    """The scale and bias with the least log loss.

    Args:
      labels: 0 or 1, `(N,)`, with both of them.
      logits: `(N,)`.
    """
    x, y = logits.astype(np.float64), labels.astype(np.float64)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, bias = np.exp(parameters[0]), parameters[1]
        z = scale * x + bias
        error = special.expit(z) - y
        gradient = np.array([np.mean(error * x) * scale, np.mean(error)])
        return float(np.mean(np.logaddexp(0, z) - y * z)), gradient

    # The bounds keep the order of scores where a model is no better than chance.
    bounds = [(-7.0, 7.0), (None, None)]
    found = optimize.minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds)
    return Calibration(float(np.exp(found.x[0])), float(found.x[1]))
