"""What cells of several seeds come to: means, and differences with their intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np

_METRICS = (("auc", "auc"), ("gauc", "gauc"), ("log_loss", "logloss"))


def means(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds of one row; none of a single seed."""
    made: dict[str, Any] = {"seeds": len(cells), "auc_of_seeds": [cell["auc"] for cell in cells]}
    for metric, label in _METRICS:
        values = [cell[metric] for cell in cells]
        made[f"{label}_mean"] = float(np.mean(values))
        made[f"{label}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return made


def difference(cells: Sequence[dict[str, Any]], less: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row less another, in points, with the bootstrap's 95 % interval over users.

    The interval says what other users would do, not other trainings: for these there
    is the number of seeds in which the first row is ahead.

    Replicates of all cells draw the same users, so the difference is paired;
    each row's replicates are the means over its seeds. With a handful of users a
    replicate can draw none, and is left out.
    """
    made: dict[str, Any] = {"seeds": len(cells)}
    for metric in ("auc", "gauc"):
        point, spread = (
            np.mean([cell[key] for cell in cells], axis=0)
            - np.mean([cell[key] for cell in less], axis=0)
            for key in (metric, f"{metric}_replicates")
        )
        made[f"{metric}_points"] = float(100 * point)
        made[f"{metric}_seeds_ahead"] = sum(
            cell[metric] > other[metric] for cell, other in zip(cells, less, strict=True)
        )
        made[f"{metric}_interval"] = np.nanpercentile(100 * spread, [2.5, 97.5]).tolist()
    return made
