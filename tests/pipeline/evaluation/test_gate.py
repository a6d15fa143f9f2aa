"""Each way of being refused, and each way of passing, on metrics made by hand."""

import dataclasses
import json
import math

import numpy as np
import pytest

from pipeline.configs import Gate
from pipeline.evaluation import gate, log_loss, ranking_metrics
from pipeline.evaluation.eval_config import LONG, OVERALL

SETTINGS = Gate(min_auc=0.6, min_gauc=0.58, tolerance=0.01, min_long_users=100)
NOISE = np.random.default_rng(0).normal(size=200)


def metrics(auc=0.7, gauc=0.68, long_auc=0.72, long_gauc=0.7, long_users=500, noise=0.0, gain=0.2):
    """Replicates are the value plus `noise` times one fixed draw."""

    def values(auc, gauc, users):
        return {
            "auc": auc,
            "gauc": gauc,
            "users": users,
            "rows": 10 * users,
            "auc_replicates": auc + noise * NOISE,
            "gauc_replicates": gauc + noise * NOISE,
            "log_loss": 0.6931 - gain,
            "constant_log_loss": 0.6931,
            "log_loss_gain": gain,
            "log_loss_gain_replicates": gain + noise * NOISE,
        }

    return {OVERALL: values(auc, gauc, 5_000), LONG: values(long_auc, long_gauc, long_users)}


def outcomes(verdict):
    return {(check.name, check.slice): check.outcome for check in verdict.checks}


def only_failure(verdict):
    assert not verdict.blessed
    (check,) = [check for check in verdict.checks if check.outcome == gate.FAILED]
    assert check.reason in verdict.reason
    return check


def test_the_first_model_is_judged_by_the_floors_alone():
    verdict = gate.judge(metrics(), None, SETTINGS)
    assert verdict.blessed
    assert outcomes(verdict) == {
        ("min_test_users", OVERALL): "passed",
        ("min_test_rows", OVERALL): "passed",
        ("min_auc", OVERALL): "passed",
        ("min_gauc", OVERALL): "passed",
        ("log_loss_beats_constant", OVERALL): "passed",
        ("auc_not_worse", OVERALL): "not judged",
        ("gauc_not_worse", OVERALL): "not judged",
        ("auc_not_worse", LONG): "not judged",
        ("gauc_not_worse", LONG): "not judged",
    }
    assert "no served model" in verdict.reason


@pytest.mark.parametrize(
    ("low", "name"), [({"auc": 0.599}, "min_auc"), ({"gauc": 0.579}, "min_gauc")]
)
def test_below_a_floor_is_refused(low, name):
    check = only_failure(gate.judge(metrics(**low), None, SETTINGS))
    assert (check.name, check.slice) == (name, OVERALL)
    assert f"at least {check.value:.4f} < " in check.reason


def test_on_a_floor_is_not_below_it():
    assert gate.judge(metrics(auc=0.600001, gauc=0.580001), None, SETTINGS).blessed


@pytest.mark.parametrize(
    ("worse", "name", "slice_name"),
    [
        ({"auc": 0.689}, "auc_not_worse", OVERALL),
        ({"gauc": 0.669}, "gauc_not_worse", OVERALL),
        ({"long_auc": 0.709}, "auc_not_worse", LONG),
        ({"long_gauc": 0.689}, "gauc_not_worse", LONG),
    ],
)
def test_worse_than_the_blessed_one_is_refused(worse, name, slice_name):
    check = only_failure(gate.judge(metrics(**worse), metrics(), SETTINGS))
    assert (check.name, check.slice) == (name, slice_name)


def test_the_tolerance_is_allowed():
    assert gate.judge(metrics(auc=0.691, long_gauc=0.691), metrics(), SETTINGS).blessed


def test_better_is_blessed_and_says_why():
    verdict = gate.judge(metrics(auc=0.8, gauc=0.8), metrics(), SETTINGS)
    assert verdict.blessed
    assert set(outcomes(verdict).values()) == {"passed"}
    assert "AUC overall 0.8000" in verdict.reason


def test_a_difference_within_the_bootstrap_error_passes_and_beyond_it_does_not():
    """The candidate's replicates move by 0.03 a standard deviation, the baseline's do not."""
    error = 0.03 * np.std(NOISE, ddof=1)
    within = metrics(auc=0.7 - 1.9 * error, noise=0.03)
    beyond = metrics(auc=0.7 - 2.0 * error, noise=0.03)
    assert 1.9 * error > SETTINGS.tolerance
    settings = dataclasses.replace(SETTINGS, min_auc=0.5)
    assert gate.judge(within, metrics(), settings).blessed
    assert only_failure(gate.judge(beyond, metrics(), settings)).name == "auc_not_worse"


def test_noise_that_both_models_share_excuses_nothing():
    """Paired: the same users are drawn for both, and only the difference's spread counts."""
    shared = gate.judge(metrics(auc=0.68, noise=0.05), metrics(noise=0.05), SETTINGS)
    assert only_failure(shared).name == "auc_not_worse"


@pytest.mark.parametrize(("users", "outcome"), [(99, "not judged"), (100, "failed")])
def test_long_histories_are_judged_only_with_enough_users(users, outcome):
    verdict = gate.judge(metrics(long_auc=0.5, long_users=users), metrics(), SETTINGS)
    assert outcomes(verdict)["auc_not_worse", LONG] == outcome
    assert verdict.blessed == (outcome == "not judged")


def test_no_long_histories_at_all_are_not_judged():
    candidate, baseline = metrics(), metrics()
    del candidate[LONG], baseline[LONG]
    verdict = gate.judge(candidate, baseline, SETTINGS)
    assert verdict.blessed
    assert "0 test users" in verdict.reason


@pytest.mark.parametrize(
    ("nan", "slice_name"), [({"auc": math.nan}, OVERALL), ({"long_gauc": math.nan}, LONG)]
)
def test_no_number_is_refused_with_a_reason(nan, slice_name):
    verdict = gate.judge(metrics(**nan), metrics(), SETTINGS)
    assert not verdict.blessed
    failed = [check for check in verdict.checks if check.outcome == gate.FAILED]
    assert {check.slice for check in failed} == {slice_name}
    assert all("is undefined" in check.reason for check in failed)


def test_a_baseline_without_a_number_is_no_bound():
    verdict = gate.judge(metrics(), metrics(long_gauc=math.nan), SETTINGS)
    assert verdict.blessed
    assert outcomes(verdict)["gauc_not_worse", LONG] == "not judged"


def test_the_lower_end_of_the_interval_must_reach_the_floor():
    error = 0.02 * np.std(NOISE, ddof=1)
    for auc, passes in ((0.6 + 1.6 * error, False), (0.6 + 1.7 * error, True)):
        verdict = gate.judge(metrics(auc=auc, noise=0.02), None, SETTINGS)
        assert (outcomes(verdict)["min_auc", OVERALL] == "passed") == passes


@pytest.mark.parametrize("name", ["users", "rows"])
def test_a_small_test_split_is_not_judged(name):
    least = dataclasses.replace(SETTINGS, min_test_users=5_000, min_test_rows=50_000)
    assert gate.judge(metrics(), None, least).blessed
    more = dataclasses.replace(
        least, **{f"min_test_{name}": getattr(least, f"min_test_{name}") + 1}
    )
    check = only_failure(gate.judge(metrics(), None, more))
    assert check.name == f"min_test_{name}"
    assert f"IMN_MIN_TEST_{name.upper()}" in check.reason


def test_a_served_model_that_cannot_be_compared_is_replaced_only_by_a_setting():
    check = only_failure(gate.judge(metrics(), None, SETTINGS, "its files are gone"))
    assert check.name == "compared"
    assert "its files are gone; set IMN_ALLOW_UNCOMPARED=true" in check.reason
    waived = dataclasses.replace(SETTINGS, allow_uncompared=True)
    verdict = gate.judge(metrics(), None, waived, "its files are gone")
    assert verdict.blessed
    assert "its files are gone" in verdict.reason


@pytest.mark.parametrize(("gain", "beats"), [(1.6, False), (1.7, True), (-50.0, False)])
def test_log_loss_must_beat_a_constant_at_the_lower_end(gain, beats):
    """Gains are in standard errors of the bootstrap."""
    computed = metrics(gain=gain * 0.02 * np.std(NOISE, ddof=1), noise=0.02)
    verdict = gate.judge(computed, None, SETTINGS)
    if beats:
        assert verdict.blessed
    else:
        check = only_failure(verdict)
        assert check.name == "log_loss_beats_constant"
        assert "0.6931 of a constant prediction" in check.reason
    waived = dataclasses.replace(SETTINGS, require_calibrated=False)
    verdict = gate.judge(computed, None, waived)
    assert verdict.blessed
    outcome = outcomes(verdict)["log_loss_beats_constant", OVERALL]
    assert outcome == ("passed" if beats else "not judged")
    loss = computed[OVERALL]["log_loss"]
    assert (f"not judged: log loss overall {loss:.4f}" in verdict.reason) == (not beats)


def test_an_undefined_log_loss_does_not_beat_a_constant():
    check = only_failure(gate.judge(metrics(gain=math.nan), None, SETTINGS))
    assert (check.name, check.value) == ("log_loss_beats_constant", None)


@pytest.mark.parametrize("rows", [10, 40, 100, 400])
def test_random_scores_are_hardly_ever_blessed(rows):
    """By the real metrics; even where the least numbers of users and rows are waived."""
    settings = Gate(min_test_users=1, min_test_rows=1, require_calibrated=False)
    chance = np.random.default_rng(0)
    blessed = 0
    for _ in range(200):
        user = np.arange(rows, dtype=np.uint64) // 2
        score, label = chance.random(rows), np.arange(rows) % 2
        computed = ranking_metrics.ranking_metrics(user, score, label)
        computed |= log_loss.gain_over_constant(user, score, label)
        blessed += gate.judge({OVERALL: computed}, None, settings).blessed
    assert blessed <= 0.05 * 200
    if rows < settings.min_test_rows:
        assert not gate.judge({OVERALL: computed}, None, Gate()).blessed


def test_replicates_that_are_no_number_are_left_out():
    assert gate.standard_error([1.0, 2.0, 3.0, math.nan]) == pytest.approx(1.0)
    assert math.isnan(gate.standard_error([math.nan, 1.0]))


def test_a_verdict_is_json():
    verdict = gate.judge(metrics(auc=math.nan), metrics(), SETTINGS)
    text = json.dumps(verdict.to_dict(), allow_nan=False)
    assert [check["outcome"] for check in json.loads(text)["checks"][1:3]] == ["passed", "failed"]
