"""Metrics against plain loops over pairs, alone and through a real TFMA run."""

import collections
import itertools
import math

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given, settings
from hypothesis import strategies as st
from tfx import v1 as tfx  # noqa: F401 - TFMA 0.52 is whole only after it

from pipeline.evaluation import eval_config, ranking_metrics
from pipeline.evaluation.scored import files, tfma_metric
from tests.support import scored_examples
from transforms import features

IN_MEMORY = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]

rows = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 1)), min_size=0, max_size=40
)


def pairs_auc(scored):
    """The definition: positive rows against negative rows, a tie is half a win."""
    wins = [
        (p > n) + (p == n) / 2
        for (p, is_p), (n, is_n) in itertools.product(scored, scored)
        if is_p and not is_n
    ]
    return sum(wins) / len(wins) if wins else math.nan


def users_gauc(data):
    """Users in a loop; also how many have one class."""
    total, weight, skipped = 0.0, 0, 0
    for user in {u for u, _, _ in data}:
        scored = [(s, y) for u, s, y in data if u == user]
        value = pairs_auc(scored)
        if math.isnan(value):
            skipped += 1
        else:
            total, weight = total + value * len(scored), weight + len(scored)
    return (total / weight if weight else math.nan), skipped


def columns(data):
    user, score, label = (np.array([row[k] for row in data]) for k in range(3))
    return user.astype(np.uint64), score.astype(np.float32), label.astype(np.int8)


@given(rows)
@settings(max_examples=150, deadline=None)
def test_auc_and_gauc_are_those_of_all_pairs(data):
    user, score, label = columns(data) if data else (np.zeros(0),) * 3
    assert ranking_metrics.auc(score, label) == pytest.approx(
        pairs_auc([(s, y) for _, s, y in data]), nan_ok=True
    )
    assert ranking_metrics.gauc(user, score, label) == pytest.approx(
        users_gauc(data)[0], nan_ok=True
    )


@given(rows.filter(len), st.integers(0, ranking_metrics.REPLICATES - 1))
@settings(max_examples=40, deadline=None)
def test_a_replicate_is_the_metric_of_the_rows_repeated(data, b):
    metrics = ranking_metrics.ranking_metrics(*columns(data))
    times = ranking_metrics.user_weights(np.arange(5, dtype=np.uint64), b).astype(int)
    # A user drawn twice is two users to GAUC.
    repeated = [((u, copy), s, y) for u, s, y in data for copy in range(times[u])]
    assert metrics["auc_replicates"][b] == pytest.approx(
        pairs_auc([(s, y) for _, s, y in repeated]), nan_ok=True
    )
    assert metrics["gauc_replicates"][b] == pytest.approx(users_gauc(repeated)[0], nan_ok=True)
    assert metrics["users"] == len({u for u, _, _ in data})
    assert metrics["users_skipped"] == users_gauc(data)[1]
    assert metrics["users_counted"] == metrics["users"] - metrics["users_skipped"]


def test_the_order_of_rows_changes_no_bit():
    rng = np.random.default_rng(0)
    n = 3_000
    user = rng.integers(0, 50, n).astype(np.uint64)
    score, label = rng.random(n).astype(np.float32), rng.integers(0, 2, n).astype(np.int8)
    one = ranking_metrics.ranking_metrics(user, score, label)
    for _ in range(3):
        order = rng.permutation(n)
        other = ranking_metrics.ranking_metrics(user[order], score[order], label[order])
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_the_bootstrap_has_the_standard_error_of_independent_users():
    """Users of one positive and one negative: GAUC is a mean of n coin flips."""
    rng = np.random.default_rng(1)
    n, chance = 2_000, 0.7
    wins = rng.random(n) < chance
    user = np.repeat(rng.integers(0, 2**63, n).astype(np.uint64), 2)
    score = np.stack([wins, ~wins], axis=1).reshape(-1).astype(np.float32)
    metrics = ranking_metrics.ranking_metrics(user, score, np.tile([1, 0], n).astype(np.int8))
    error = np.std(metrics["gauc_replicates"], ddof=1)
    assert error == pytest.approx(math.sqrt(chance * (1 - chance) / n), rel=0.2)
    assert np.mean(metrics["gauc_replicates"]) == pytest.approx(metrics["gauc"], abs=4 * error)


def test_weights_are_poisson_and_differ_between_replicates():
    users = np.arange(20_000, dtype=np.uint64)
    first, second = ranking_metrics.user_weights(users, 0), ranking_metrics.user_weights(users, 1)
    for k, expected in enumerate([0.3679, 0.3679, 0.1839, 0.0613]):
        assert np.mean(first == k) == pytest.approx(expected, abs=0.015)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


def test_a_score_that_is_not_finite_gives_no_number():
    user, label = np.zeros(4, np.uint64), np.array([0, 1, 0, 1], np.int8)
    metrics = ranking_metrics.ranking_metrics(
        user, np.array([0.1, np.nan, 0.3, 0.9], np.float32), label
    )
    assert math.isnan(metrics["auc"])
    assert math.isnan(metrics["gauc"])


def test_saturated_scores_have_a_log_loss():
    user, label = np.zeros(2, np.uint64), np.array([1, 0], np.int8)
    right = ranking_metrics.ranking_metrics(user, np.array([1.0, 0.0], np.float32), label)
    wrong = ranking_metrics.ranking_metrics(user, np.array([0.0, 1.0], np.float32), label)
    assert right["log_loss"] == pytest.approx(0.0, abs=1e-6)
    assert wrong["log_loss"] == pytest.approx(-math.log(1e-7), rel=1e-3)


def hand_made(count=300):
    """Rows with ties; a user has one history bucket and targets of several buckets."""
    rng = np.random.default_rng(2)
    result = []
    for _ in range(count):
        user = int(rng.integers(0, 30))
        result.append(
            {
                "user": b"user%d" % user,
                "score": int(rng.integers(1, 40)) * 25,
                "other_score": int(rng.integers(1, 10)) * 100,
                "label": int(rng.integers(0, 2)),
                features.HISTORY_BUCKET: features.HISTORY_BUCKETS[user % 3].encode(),
                features.TARGET_BUCKET: features.TARGET_BUCKETS[int(rng.integers(0, 2))].encode(),
            }
        )
    return result


def evaluate(folder, data, with_baseline):
    """The Beam jobs of the Evaluator: scores of two files, and TFMA."""
    serialized = [scored_examples.example(**row) for row in data]
    paths = [
        scored_examples.write(folder / "test" / f"{number}.gz", serialized[number::2])
        for number in range(2)
    ]
    config = tfma.utils.update_eval_config_with_defaults(
        eval_config.eval_config(), has_baseline=with_baseline, rubber_stamp=True
    )
    saved = {
        name: scored_examples.save_model(folder / name, feature)
        for name, feature in [
            (eval_config.CANDIDATE, features.TARGET_TIME),
            (eval_config.BASELINE, scored_examples.OTHER_SCORE),
        ][: 1 + with_baseline]
    }
    models = [
        tfma.default_eval_shared_model(
            eval_saved_model_path=path,
            # As TFX does: the name is that of the spec, which a model alone has not.
            model_name=name if with_baseline else "",
            eval_config=config,
        )
        for name, path in saved.items()
    ]
    blocks = folder / "blocks"
    blocks.mkdir()
    with beam.Pipeline(argv=IN_MEMORY) as pipeline:
        files.write(pipeline, paths, saved, str(blocks), lambda _: None)
    tfma.run_model_analysis(
        eval_shared_model=models if with_baseline else models[0],
        eval_config=config,
        data_location=str(blocks / "*"),
        output_path=str(folder / "evaluation"),
        extractors=files.extractors(config),
        pipeline_options=PipelineOptions(IN_MEMORY),
    )
    return eval_config.load_metrics(str(folder / "evaluation"))


def expected_slices(data):
    yield eval_config.OVERALL, data
    for key in (features.HISTORY_BUCKET, features.TARGET_BUCKET):
        for value in {row[key] for row in data}:
            yield f"{key}={value.decode()}", [row for row in data if row[key] == value]


def check(metrics, data, score_key):
    slices = dict(expected_slices(data))
    assert set(metrics) == set(slices)
    assert len(slices) == 1 + 3 + 2
    for name, inside in slices.items():
        scored = [(row["user"], row[score_key] / 1000, row["label"]) for row in inside]
        got = metrics[name]
        expected_gauc, skipped = users_gauc(scored)
        assert got["auc"] == pytest.approx(pairs_auc([row[1:] for row in scored]), abs=1e-6)
        assert got["gauc"] == pytest.approx(expected_gauc, abs=1e-6)
        assert got["rows"] == len(inside)
        assert got["users"] == len({row["user"] for row in inside})
        assert got["users_skipped"] == skipped
        assert got["users_counted"] == got["users"] - skipped
        loss = [-math.log(min(s if y else 1 - s, 1 - 1e-7) or 1e-7) for _, s, y in scored]
        assert got["log_loss"] == pytest.approx(np.mean(loss), rel=1e-5)
        assert got["calibration"] == pytest.approx(
            sum(s for _, s, _ in scored) / sum(y for _, _, y in scored), rel=1e-5
        )
        assert got["log_loss_gain"] == pytest.approx(
            got["constant_log_loss"] - got["log_loss"], abs=1e-9
        )
        largest = max(collections.Counter(user for user, _, _ in scored).values())
        assert got["largest_user_share"] == pytest.approx(largest / len(inside))
        assert got["share_of_users"] == 1
        assert got["auc_replicates"].shape == (ranking_metrics.REPLICATES,)
        assert got["gauc_replicates"].shape == (ranking_metrics.REPLICATES,)


def test_tfma_gives_the_plain_values_in_every_slice_for_both_models(tmp_path):
    data = hand_made()
    metrics = evaluate(tmp_path, data, with_baseline=True)
    assert set(metrics) == {eval_config.CANDIDATE, eval_config.BASELINE}
    check(metrics[eval_config.CANDIDATE], data, "score")
    check(metrics[eval_config.BASELINE], data, "other_score")
    hashes = np.array([files.user_hash(row["user"]) for row in data], np.uint64)
    alone = ranking_metrics.ranking_metrics(
        hashes,
        np.array([row["other_score"] / 1000 for row in data], np.float32),
        np.array([row["label"] for row in data], np.int8),
    )
    for name in ("auc_replicates", "gauc_replicates"):
        np.testing.assert_allclose(
            metrics[eval_config.BASELINE][eval_config.OVERALL][name], alone[name], rtol=1e-12
        )


def test_a_model_alone_is_the_candidate(tmp_path):
    data = hand_made(60)
    metrics = evaluate(tmp_path, data, with_baseline=False)
    assert set(metrics) == {eval_config.CANDIDATE}
    check(metrics[eval_config.CANDIDATE], data, "score")


def test_above_the_bound_the_metrics_are_those_of_a_sample_of_users(tmp_path, monkeypatch):
    """The users with the smaller half of the hashes, or of that half, and so on."""
    data = hand_made()
    monkeypatch.setattr(tfma_metric, "MAX_ROWS", 200)
    metrics = evaluate(tmp_path, data, with_baseline=False)[eval_config.CANDIDATE]
    for name, inside in expected_slices(data):
        share = 1.0
        while len(inside) > 200:
            share /= 2
            inside = [r for r in inside if files.user_hash(r["user"]) < share * 2**64]
        got = metrics[name]
        assert (got["share_of_users"], got["rows"]) == (share, len(inside))
        scored = [(row["user"], row["score"] / 1000, row["label"]) for row in inside]
        assert got["auc"] == pytest.approx(pairs_auc([row[1:] for row in scored]), abs=1e-6)
        assert got["gauc"] == pytest.approx(users_gauc(scored)[0], abs=1e-6)
    assert metrics[eval_config.OVERALL]["share_of_users"] < 1
    largest = max(collections.Counter(row["user"] for row in data).values())
    assert metrics[eval_config.OVERALL]["largest_user_share"] == pytest.approx(largest / len(data))
