"""The gate decides whether a model may be pushed: a pure function of metrics and settings."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.configs import Gate
from pipeline.evaluation.eval_config import LONG, OVERALL

PASSED, FAILED, NOT_JUDGED = "passed", "failed", "not judged"
# Normal quantiles for 95 %, two-sided and one-sided.
_Z = 1.96
_Z_ONE_SIDED = 1.645
_NAMES = {"auc": "AUC", "gauc": "GAUC"}
_WHERE = {OVERALL: "overall", LONG: "on long histories"}

SliceMetrics = Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One rule and its outcome: `value` must be at least `bound`."""

    name: str
    slice: str
    value: float | None  # None: undefined
    bound: float | None  # None: nothing to compare with
    outcome: str  # passed, failed or not judged
    reason: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether the candidate is blessed: the reason in one line, and every check."""

    blessed: bool
    reason: str
    checks: list[Check]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists."""
        return dataclasses.asdict(self)


def judge(
    candidate: SliceMetrics,
    baseline: SliceMetrics | None,
    settings: Gate,
    uncompared: str = "",
    recall: Sequence[float] | None = None,
) -> Verdict:
    """Compares a candidate with fixed floors and with the served model, if there is one.

    Test must have at least `min_test_users` users and `min_test_rows` rows: with fewer, chance
    alone may pass the floors. The lower end of the overall AUC and GAUC (one-sided 95 %, from a
    bootstrap over users) must be at least `min_auc` and `min_gauc`. Overall and on long
    histories, neither may be below the baseline by more than `tolerance` or 1.96 standard
    errors of the difference, whichever is larger; the standard error comes from a paired
    bootstrap over users. The long slice is judged only if test has at least `min_long_users`
    users in it.

    The log loss overall must beat that of a constant prediction, the positive rate of test, at
    the lower end of the difference. If it does not, the scores are no probabilities. Without
    `require_calibrated`, this is said and the model is not refused for it.

    With `min_recall`, the lower end of the first stage's recall@100 must reach it.

    Args:
      candidate: metrics by slice and name, from `eval_config.load_metrics`.
      baseline: the same for the served model, on the same rows; None without one.
      settings: the fields that this text names, and `allow_uncompared`.
      uncompared: why a served model could not be scored; "" if it was, or if none is served.
      recall: recall@100 of the first stage and its standard error; None without a first stage.
    """
    checks = [
        *_enough_test_data(candidate, settings),
        *([_uncompared(uncompared, settings)] if uncompared else []),
        _floor("auc", candidate, settings.min_auc),
        _floor("gauc", candidate, settings.min_gauc),
        _beats_constant(candidate, settings),
        *([_recall(recall, settings.min_recall)] if settings.min_recall else []),
        *(
            _not_worse(name, slice_name, candidate, baseline, settings)
            for slice_name in (OVERALL, LONG)
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
    """The bootstrap's standard error from replicates `(B,)`, ignoring those that are not finite.

    NaN if fewer than two are finite.
    """
    finite = np.asarray(replicates, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(np.std(finite, ddof=1)) if len(finite) > 1 else math.nan


def _enough_test_data(candidate: SliceMetrics, settings: Gate) -> list[Check]:
    result = []
    for name in ("users", "rows"):
        count, least = candidate[OVERALL][name], getattr(settings, f"min_test_{name}")
        passed = count >= least
        result.append(
            Check(
                name=f"min_test_{name}",
                slice=OVERALL,
                value=float(count),
                bound=float(least),
                outcome=PASSED if passed else FAILED,
                reason=f"{count:,} test {name} >= {least:,}"
                if passed
                else f"not judged, because test has {count:,} {name} and `min_test_{name}` is "
                f"{least:,}; give more ratings, or lower IMN_MIN_TEST_{name.upper()}",
            )
        )
    return result


def _uncompared(reason: str, settings: Gate) -> Check:
    """The check that a served model was compared with; `allow_uncompared` waives it."""
    if settings.allow_uncompared:
        return _not_judged("compared", OVERALL, None, f"{reason}; IMN_ALLOW_UNCOMPARED waives it")
    return Check(
        name="compared",
        slice=OVERALL,
        value=None,
        bound=None,
        outcome=FAILED,
        reason=f"{reason}; set IMN_ALLOW_UNCOMPARED=true to replace it without a comparison",
    )


def _floor(name: str, candidate: SliceMetrics, bound: float) -> Check:
    """The check that the lower end of a metric's interval reaches a floor."""
    rule, metric = f"min_{name}", f"{_NAMES[name]} overall"
    value = _value(name, OVERALL, candidate)
    if value is None:
        return _compare(rule, name, OVERALL, candidate, bound, "")
    error = standard_error(candidate[OVERALL][f"{name}_replicates"])
    low = value - _Z_ONE_SIDED * error
    passed = low >= bound  # False for NaN: with one user there is no interval
    reason = (
        f"{metric} {value:.4f}, at least {low:.4f} {'>=' if passed else '<'} {bound:.4f} "
        f"(the floor `min_{name}`)"
    )
    outcome = PASSED if passed else FAILED
    return Check(name=rule, slice=OVERALL, value=low, bound=bound, outcome=outcome, reason=reason)


def _beats_constant(candidate: SliceMetrics, settings: Gate) -> Check:
    """The check that the lower end of the gain in log loss over a constant is not below 0."""
    metrics = candidate[OVERALL]
    low = metrics["log_loss_gain"] - _Z_ONE_SIDED * standard_error(
        metrics["log_loss_gain_replicates"]
    )
    loss = f"log loss overall {metrics['log_loss']:.4f}"
    constant = f"{metrics['constant_log_loss']:.4f} of a constant prediction"
    fault = f"{loss} is not surely below the {constant}, so the scores are no probabilities"
    if low >= 0:  # False for NaN
        outcome, reason = PASSED, f"{loss}, at least {low:.4f} below the {constant}"
    elif settings.require_calibrated:
        outcome, reason = FAILED, f"{fault} (IMN_REQUIRE_CALIBRATED=false allows this)"
    else:
        outcome = NOT_JUDGED
        reason = f"not judged: {fault} (IMN_REQUIRE_CALIBRATED=true refuses this)"
    return Check(
        name="log_loss_beats_constant",
        slice=OVERALL,
        value=low if math.isfinite(low) else None,
        bound=0.0,
        outcome=outcome,
        reason=reason,
    )


def _not_worse(
    name: str,
    slice_name: str,
    candidate: SliceMetrics,
    baseline: SliceMetrics | None,
    settings: Gate,
) -> Check:
    rule = f"{name}_not_worse"
    value = _value(name, slice_name, candidate)
    if slice_name == LONG:
        users = candidate.get(LONG, {}).get("users", 0)
        if users < settings.min_long_users:
            return _not_judged(
                rule,
                slice_name,
                value,
                f"long histories not judged: {users} test users have one, "
                f"{settings.min_long_users} are needed",
            )
    if baseline is None:
        # Where a served model could not be scored, the check `compared` says so.
        return _not_judged(rule, slice_name, value, "no served model to compare with")
    reference = _value(name, slice_name, baseline)
    if reference is None:
        return _not_judged(
            rule,
            slice_name,
            value,
            f"{_NAMES[name]} {_WHERE[slice_name]} not compared: undefined for the served model",
        )
    allowed = settings.tolerance
    if value is not None:
        replicates = f"{name}_replicates"
        error = standard_error(candidate[slice_name][replicates] - baseline[slice_name][replicates])
        allowed = max(allowed, _Z * (0.0 if math.isnan(error) else error))
    source = f"served model {reference:.4f} - tolerance {allowed:.4f}"
    return _compare(rule, name, slice_name, candidate, reference - allowed, source)


def _recall(recall: Sequence[float] | None, bound: float) -> Check:
    """The check that the lower end of the first stage's recall@100 reaches a floor."""
    value, error = recall if recall else (math.nan, math.nan)
    low = value - _Z_ONE_SIDED * error
    passed = low >= bound
    if math.isfinite(value):
        sign = ">=" if passed else "<"
        reason = f"recall@100 of the first stage {value:.4f}, at least {low:.4f} {sign} {bound:.4f}"
    else:
        reason = "there is no first stage, or no test row, and `min_recall` needs its recall@100"
    return Check(
        name="min_recall",
        slice=OVERALL,
        value=value if math.isfinite(value) else None,
        bound=bound,
        outcome=PASSED if passed else FAILED,
        reason=f"{reason} (the floor `min_recall`)",
    )


def _not_judged(rule: str, slice_name: str, value: float | None, reason: str) -> Check:
    return Check(
        name=rule, slice=slice_name, value=value, bound=None, outcome=NOT_JUDGED, reason=reason
    )


def _compare(
    rule: str, name: str, slice_name: str, candidate: SliceMetrics, bound: float, source: str
) -> Check:
    """The check `value >= bound`; `source` says in words where the bound comes from."""
    value = _value(name, slice_name, candidate)
    metric = f"{_NAMES[name]} {_WHERE[slice_name]}"
    if value is None:
        passed = False
        reason = f"{metric} is undefined: the rows have a single class or non-finite scores"
    else:
        passed = value >= bound
        reason = f"{metric} {value:.4f} {'>=' if passed else '<'} {bound:.4f} ({source})"
    outcome = PASSED if passed else FAILED
    return Check(
        name=rule, slice=slice_name, value=value, bound=bound, outcome=outcome, reason=reason
    )


def _value(name: str, slice_name: str, metrics: SliceMetrics) -> float | None:
    value = metrics.get(slice_name, {}).get(name, math.nan)
    return float(value) if math.isfinite(value) else None
