"""Controls on hand-made Examples with known answers, and against plain loops."""

import json
import statistics
from collections import defaultdict

import numpy as np
import pytest
import tensorflow as tf

from pipeline.evaluation import controls as module
from pipeline.evaluation import ranking_metrics, shuffled_histories
from pipeline.evaluation.controls import controls, table
from pipeline.evaluation.streaming import ItemAggregates, StreamingSet
from tests.support import scored_examples
from tests.support.scored_examples import L
from transforms import features


def row(user, history, target, label, time=1_000):
    """A raw Example whose events came a second apart, the last one before `time`."""
    n = len(history)
    return scored_examples.example(
        user,
        label,
        **{
            features.HISTORY_ITEM: [*history, *[b""] * (L - n)],
            features.HISTORY_TIME: [*(time - n + j for j in range(n)), *[0] * (L - n)],
            features.HISTORY_LENGTH: n,
            features.TARGET_ITEM: target,
            features.TARGET_TIME: time,
        },
    )


def run(folder, train, test, **more):
    """Rows over several files, as ingestion writes them."""
    files = {}
    for split, rows in (("train", train), ("test", test)):
        files[split] = [
            scored_examples.write(folder / split / f"{k}.gz", rows[k::3]) for k in range(3)
        ]
    return controls(files["train"], files["test"], **more).summary


def both(result, name):
    metrics = result["controls"][name]
    return metrics["auc"], metrics["gauc"]


def test_a_leak_through_the_users_own_windows_scores_one(tmp_path):
    """Overlapping windows split at random: the test positives stand in the training windows."""
    train, test = [], []
    for u in range(8):
        user, item = b"u%d" % u, [b"%d-%d" % (u, j) for j in range(4)]
        train += [row(user, item[:2], item[2], 1), row(user, item[:2], b"n%d" % u, 0)]
        leaked = item[u % 3]  # from the history, or the target itself
        test += [row(user, item[1:3], leaked, 1), row(user, item[1:3], b"n%d" % ((u + 1) % 8), 0)]
    result = run(tmp_path, train, test)
    assert both(result, "own_training_windows") == (1.0, 1.0)
    assert (result["train_rows"], result["rows"], result["users"]) == (16, 16, 8)


def test_fair_samples_give_the_look_up_nothing(tmp_path):
    """A negative of this user's training, or another user's item, is not in the own windows."""
    train = [row(b"a", [b"1"], b"2", 1), row(b"a", [b"1"], b"9", 0), row(b"b", [b"7"], b"8", 1)]
    test = [row(b"a", [b"1", b"2"], b"8", 1), row(b"a", [b"1", b"2"], b"9", 0)]
    assert both(run(tmp_path, train, test), "own_training_windows") == (0.5, 0.5)


def test_popular_positives_and_rare_negatives(tmp_path):
    train = [row(b"t%d" % u, [], b"hit", 1) for u in range(5)] + [row(b"t", [], b"rare", 1)]
    test = [row(b"a", [], b"hit", 1), row(b"a", [], b"rare", 0)] * 3
    result = run(tmp_path, train, test)
    assert both(result, "popularity") == (1.0, 1.0)
    assert both(result, "unseen_target") == (0.5, 0.5)


def test_never_seen_so_positive(tmp_path):
    """Seen in a history, as a positive and as a negative all count as seen."""
    train = [row(b"a", [b"1"], b"2", 1), row(b"a", [b"1"], b"3", 0)]
    test = [row(b"b", [], item, int(item == b"new")) for item in (b"1", b"2", b"3", b"new")]
    assert both(run(tmp_path, train, test), "unseen_target") == (1.0, 1.0)


def test_an_item_that_is_always_positive_in_training(tmp_path):
    train = [row(b"a", [], b"good", 1)] * 3 + [row(b"a", [], b"bad", 0)] * 3
    test = [row(b"b", [], b"good", 1), row(b"b", [], b"unknown", 0), row(b"c", [], b"unknown", 1)]
    test += [row(b"c", [], b"bad", 0)]
    assert both(run(tmp_path, train, test), "target_item") == pytest.approx((0.875, 1.0))


def test_the_age_of_the_target(tmp_path):
    """Positives come near their item's mean time of positives, here 1000."""
    train = [row(b"a", [], b"x", 1, time=t) for t in (900, 1_100)]
    train += [row(b"a", [], b"x", 0, time=9_000)]
    test = [row(b"b", [], b"x", 1, 1_010), row(b"b", [], b"x", 0, 1_500)]
    test += [row(b"b", [], b"x", 0, 500)]
    assert both(run(tmp_path, train, test), "target_age") == (1.0, 1.0)


def plain(train, test):
    """The five controls with dictionaries; `train` and `test` are tuples of `row`."""
    popularity, count, times = defaultdict(int), defaultdict(int), defaultdict(list)
    seen, windows = set(), defaultdict(set)
    for user, history, target, label, time in train:
        popularity[target] += label
        count[target] += 1
        seen |= {*history, target}
        windows[user] |= set(history)
        if label:
            times[target].append(time)
            windows[user].add(target)
    mean = sum(popularity.values()) / len(train)
    ages = [
        -abs(time - statistics.mean(times[target])) if times[target] else None
        for _, _, target, _, time in test
    ]
    middle = statistics.median([age for age in ages if age is not None])
    return {
        "popularity": [popularity[target] for _, _, target, _, _ in test],
        "target_item": [(popularity[t] + 2 * mean) / (count[t] + 2) for _, _, t, _, _ in test],
        "target_age": [middle if age is None else age for age in ages],
        "unseen_target": [target not in seen for _, _, target, _, _ in test],
        "own_training_windows": [target in windows[user] for user, _, target, _, _ in test],
    }


def test_random_rows_give_what_plain_loops_give(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 37)
    rng = np.random.default_rng(3)

    def some(count, items):
        return [
            (
                b"u%d" % rng.integers(0, 12),
                [b"i%d" % j for j in rng.integers(0, items, rng.integers(0, L + 1))],
                b"i%d" % rng.integers(0, items),
                int(rng.integers(0, 2)),
                int(rng.integers(1_000, 2_000)),
            )
            for _ in range(count)
        ]

    train, test = some(250, 70), some(150, 100)
    result = run(tmp_path, [row(*r) for r in train], [row(*r) for r in test])
    label, user = np.array([r[3] for r in test]), np.array([r[0] for r in test])
    for name, score in plain(train, test).items():
        score = np.array(score, float)
        assert len(np.unique(score)) > 1
        expected = ranking_metrics.auc(score, label), ranking_metrics.gauc(user, score, label)
        assert both(result, name) == pytest.approx(expected, abs=1e-12), name


def test_a_cap_keeps_whole_users_whatever_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 37)
    rng = np.random.default_rng(4)
    rows = [
        row(b"u%d" % u, [], b"i%d" % rng.integers(0, 9), int(rng.integers(0, 2)))
        for u in range(60)
        for _ in range(5)
    ]
    result = run(tmp_path / "a", rows[:10], rows, max_rows=100)
    assert 0 < result["rows"] <= 100
    assert result["rows"] == 5 * result["users"]
    assert result["share_of_users"] in (0.5, 0.25, 0.125)
    mixed = [rows[k] for k in rng.permutation(len(rows))]
    assert run(tmp_path / "b", rows[:10], mixed, max_rows=100) == result


class Repeats(tf.Module):
    """Scores 1 where the target stands in the history."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def score(self, examples):
        parsed = tf.io.parse_example(
            examples,
            {
                features.HISTORY_ITEM: tf.io.FixedLenFeature([L], tf.string),
                features.TARGET_ITEM: tf.io.FixedLenFeature([1], tf.string),
            },
        )
        same = tf.equal(parsed[features.HISTORY_ITEM], parsed[features.TARGET_ITEM])
        return {"score": tf.cast(tf.reduce_any(same, axis=1), tf.float32)}


def test_a_model_that_lives_by_the_history_loses_it_with_another_users(tmp_path):
    model = Repeats()
    tf.saved_model.save(model, str(tmp_path / "model"), signatures={"serving_default": model.score})
    test = []
    for u in range(10):
        user, items = b"u%d" % u, [b"%d-%d" % (u, j) for j in range(2)]
        test += [row(user, items, items[0], 1), row(user, items, b"other", 0)]
    result = run(tmp_path, [], test, model_dir=str(tmp_path / "model"))
    assert both(result, "model") == (1.0, 1.0)
    assert both(result, "other_users_history") == (0.5, 0.5)
    assert result["model_rows"] == 20


def test_another_users_history_keeps_its_age_and_its_padding():
    rows = [
        row(b"a", [b"a1", b"a2"], b"x", 1, time=5_000),
        row(b"b", [b"b1"], b"y", 0, time=7_000),
        row(b"b", [b"old"], b"y", 0, time=6_000),
    ]
    examples = shuffled_histories.histories(
        np.array([10, 20, 20]), np.array([5_000, 7_000, 6_000]), rows
    )
    first, second, third = (tf.train.Example.FromString(r).features.feature for r in examples)

    def history(example):
        return (
            list(example[features.HISTORY_ITEM].bytes_list.value),
            list(example[features.HISTORY_TIME].int64_list.value),
            list(example[features.HISTORY_LENGTH].int64_list.value),
        )

    # b's last row was a second before its target.
    assert history(first) == ([b"b1", b"", b""], [4_999, 0, 0], [1])
    assert history(second) == ([b"a1", b"a2", b""], [6_998, 6_999, 0], [2])
    assert history(third) == ([b"a1", b"a2", b""], [5_998, 5_999, 0], [2])
    assert first[features.TARGET_ITEM].bytes_list.value[0] == b"x"
    assert first[features.USER_ID].bytes_list.value[0] == b"a"


def test_sums_are_the_same_merged_early_or_late(monkeypatch):
    rng = np.random.default_rng(5)
    parts = [rng.integers(-50, 50, 30) for _ in range(20)]
    everything = np.concatenate(parts)
    asked = np.arange(-60, 60)
    for pending in (10, 10**6):
        monkeypatch.setattr("pipeline.evaluation.streaming._PENDING", pending)
        distinct, sums = StreamingSet(), ItemAggregates()
        for part in parts:
            distinct.add(part)
            sums.add(part, part % 2, part * 10)
        np.testing.assert_array_equal(distinct.contains(asked), np.isin(asked, everything))
        known, count, positives, mean_time = sums.lookup(asked)
        for item, k, c, p, t in zip(asked, known, count, positives, mean_time, strict=True):
            assert c == np.sum(everything == item)
            assert p == c * (item % 2)
            assert k == (p > 0)
            assert t == (item * 10 if k else 0)


def test_the_table_reads_back_from_json():
    result = {"controls": {"popularity": {"auc": 0.5123, "gauc": float("nan")}}}
    assert "0.512" in table(result)
    nothing = json.loads('{"controls": {"model": {"auc": null, "gauc": 1.0}}}')
    assert table(nothing).splitlines()[1].split()[-2:] == ["-", "1.000"]
