"""The gate: may this model be pushed? A pure function of metrics and settings."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.configs import Settings
from pipeline.evaluation.eval_config import LONG, OVERALL

PASSED, FAILED, NOT_JUDGED = "passed", "failed", "not judged"
# Two-sided 95 % of a normal distribution.
_Z = 1.96
_NAMES = {"auc": "AUC", "gauc": "GAUC"}
_PLACES = {OVERALL: "overall", LONG: "on long histories"}

SliceMetrics = Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Check:
    """One rule and what came of it: `value` must be at least `bound`."""

    name: str
    slice: str
    value: float | None  # None is not a number
    bound: float | None  # None where nothing could be compared
    outcome: str  # passed, failed or not judged
    reason: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether the candidate is blessed, in one line and check by check."""

    blessed: bool
    reason: str
    checks: list[Check]

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists."""
        return dataclasses.asdict(self)


def judge(candidate: SliceMetrics, baseline: SliceMetrics | None, settings: Settings) -> Verdict:
    """Judges a candidate by floors and, where there is one, by the last blessed model.

    Overall, AUC and GAUC must reach `min_auc` and `min_gauc`. Overall and on
    long histories they must not fall below the baseline's by more than
    `tolerance` or 1.96 standard errors of the difference, whichever is more;
    the standard error is that of a paired bootstrap over users. The long slice
    is judged where test has at least `min_long_users` such users.

    Args:
      candidate: metrics by slice and name, from `eval_config.load_metrics`.
      baseline: the same of the last blessed model on the same rows; None where there is none.
      settings: the fields named above are read.
    """
    checks = [
        _floor("auc", candidate, settings.min_auc),
        _floor("gauc", candidate, settings.min_gauc),
        *(
            _not_worse(name, place, candidate, baseline, settings)
            for place in (OVERALL, LONG)
            for name in ("auc", "gauc")
        ),
    ]
    failed = [check.reason for check in checks if check.outcome == FAILED]
    if failed:
        return Verdict(False, f"Refused: {'; '.join(failed)}.", checks)
    reasons = [check.reason for check in checks if check.outcome == PASSED]
    waived = sorted({check.reason for check in checks if check.outcome == NOT_JUDGED})
    return Verdict(True, f"Blessed: {'; '.join(reasons + waived)}.", checks)


def standard_error(replicates: Any) -> float:
    """The bootstrap's standard error from replicates `(B,)`; those that are no number are left out.

    NaN where fewer than two are left.
    """
    finite = np.asarray(replicates, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(np.std(finite, ddof=1)) if len(finite) > 1 else math.nan


def _floor(name: str, candidate: SliceMetrics, bound: float) -> Check:
    return _check(f"min_{name}", name, OVERALL, candidate, bound, "the floor")


def _not_worse(
    name: str,
    place: str,
    candidate: SliceMetrics,
    baseline: SliceMetrics | None,
    settings: Settings,
) -> Check:
    rule = f"{name}_not_worse"
    if place == LONG:
        users = candidate.get(LONG, {}).get("users", 0)
        if users < settings.min_long_users:
            reason = (
                f"long histories not judged: {users} users of test have one, "
                f"{settings.min_long_users} are needed"
            )
            return Check(rule, place, _value(name, place, candidate), None, NOT_JUDGED, reason)
    if baseline is None:
        reason = "no blessed model of this kind to compare with"
        return Check(rule, place, _value(name, place, candidate), None, NOT_JUDGED, reason)
    reference = _value(name, place, baseline)
    if reference is None:
        reason = (
            f"{_NAMES[name]} {_PLACES[place]} not compared: the last blessed model's is no number"
        )
        return Check(rule, place, _value(name, place, candidate), None, NOT_JUDGED, reason)
    allowed = settings.tolerance
    if _value(name, place, candidate) is not None:
        replicates = f"{name}_replicates"
        error = standard_error(candidate[place][replicates] - baseline[place][replicates])
        allowed = max(allowed, _Z * (0.0 if math.isnan(error) else error))
    against = f"the last blessed model's {reference:.4f} less {allowed:.4f} for chance"
    return _check(rule, name, place, candidate, reference - allowed, against)


def _check(
    rule: str, name: str, place: str, candidate: SliceMetrics, bound: float, against: str
) -> Check:
    value = _value(name, place, candidate)
    what = f"{_NAMES[name]} {_PLACES[place]}"
    if value is None:
        reason = f"{what} is no number: the rows have one class, or scores that are not finite"
        return Check(rule, place, None, bound, FAILED, reason)
    if value < bound:
        return Check(
            rule, place, value, bound, FAILED, f"{what} {value:.4f} is below {bound:.4f}, {against}"
        )
    return Check(
        rule, place, value, bound, PASSED, f"{what} {value:.4f} reaches {bound:.4f}, {against}"
    )


def _value(name: str, place: str, metrics: SliceMetrics) -> float | None:
    value = metrics.get(place, {}).get(name, math.nan)
    return float(value) if math.isfinite(value) else None
