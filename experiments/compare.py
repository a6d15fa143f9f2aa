"""Summaries over seeds: means, and differences with confidence intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np

_METRICS = (("auc", "auc"), ("gauc", "gauc"), ("log_loss", "logloss"))


def means(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds of one row; None for a single seed."""
    result: dict[str, Any] = {
        "seeds": len(results),
        "auc_of_seeds": [run["auc"] for run in results],
    }
    for metric, label in _METRICS:
        values = [run[metric] for run in results]
        result[f"{label}_mean"] = float(np.mean(values))
        result[f"{label}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return result


def difference(results: Sequence[dict[str, Any]], less: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row minus another, in points, with the bootstrap's 95 % interval over users.

    The interval holds the trained models fixed: it covers other users, not other trainings. The
    number of seeds in which the first row is ahead covers those.

    Replicates of all runs draw the same users, so the difference is paired. The replicates of a row
    are means over its seeds. Replicates without users are ignored.
    """
    result: dict[str, Any] = {"seeds": len(results)}
    for metric in ("auc", "gauc"):
        point, spread = (
            np.mean([run[key] for run in results], axis=0)
            - np.mean([run[key] for run in less], axis=0)
            for key in (metric, f"{metric}_replicates")
        )
        result[f"{metric}_points"] = float(100 * point)
        result[f"{metric}_seeds_ahead"] = sum(
            run[metric] > other[metric] for run, other in zip(results, less, strict=True)
        )
        result[f"{metric}_interval"] = np.nanpercentile(100 * spread, [2.5, 97.5]).tolist()
    return result
