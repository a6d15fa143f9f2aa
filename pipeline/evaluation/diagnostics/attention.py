"""Attention by the position and by the age of an event, for each pass over the history."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.evaluation.diagnostics.explained import Explained

DAY = 86_400
# Lower bounds of the groups of events.
POSITIONS = (1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513, 1025)  # counted from the newest event, 1
AGES = (0, 1, 7, 30, 90, 365, 3 * 365)  # in days before the target


def relative(weights: np.ndarray) -> np.ndarray:
    """Weights `(N, P, L)` over the mean weight of their row and pass; 0 is padding and stays 0.

    1 is the weight of an average event of this history in this pass, whatever the normalisation
    of the model. Negative weights count by their size.
    """
    size = np.abs(weights.astype(np.float64))
    events = (size > 0).any(axis=1).sum(axis=1)[:, None, None]
    total = size.sum(axis=2, keepdims=True)
    return np.divide(size * events, total, out=np.zeros_like(size), where=total > 0)


def attention(rows: Explained) -> dict[str, Any] | None:
    """How much each pass attends to events of a position and of an age.

    Args:
      rows: histories with their weights.

    Returns:
      None without passes or events. Else `rows`: histories with an event; `passes`: their number;
      `by_position` and `by_age`: for each group with events its lower bound `from` (position 1 is
      the newest event; age in days), its `events`, and for each pass `weight`, the mean of
      `relative`, and `share` of all weights, the mean over histories.
    """
    filled = np.arange(rows.items.shape[1]) < rows.length[:, None]
    used = rows.length > 0
    if not rows.weights.shape[1] or not used.any():
        return None
    weight = relative(rows.weights)
    position = np.maximum(rows.length[:, None] - np.arange(filled.shape[1]), 1)
    age = np.maximum(rows.target_time[:, None] - rows.times, 0) / DAY
    return {
        "rows": int(used.sum()),
        "passes": weight.shape[1],
        "by_position": _groups(position, POSITIONS, filled, weight),
        "by_age": _groups(age, AGES, filled, weight),
    }


def _groups(
    value: np.ndarray, bounds: Sequence[int], filled: np.ndarray, weight: np.ndarray
) -> list[dict[str, Any]]:
    """The groups of events `(N, L)` by a value `(N, L)`; those without events are left out."""
    group = np.searchsorted(np.array(bounds), value, side="right") - 1
    total = weight.sum(axis=2)  # (N, P), the number of events
    histories = (total > 0).sum(axis=0)  # (P,)
    result = []
    for number, bound in enumerate(bounds):
        inside = filled & (group == number)
        if not inside.any():
            continue
        in_group = (weight * inside[:, None]).sum(axis=2)
        share = np.divide(in_group, total, out=np.zeros_like(total), where=total > 0)
        result.append(
            {
                "from": bound,
                "events": int(inside.sum()),
                "weight": (in_group.sum(axis=0) / inside.sum()).tolist(),
                "share": (share.sum(axis=0) / np.maximum(histories, 1)).tolist(),
            }
        )
    return result
