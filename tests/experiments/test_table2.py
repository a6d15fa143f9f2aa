"""The second table on a tiny file, through its command, and how it splits samples.

By default with one length of the history; with two under the marker `slow`.
"""

import collections
import json
import os
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

from experiments import table2 as table2_command
from pipeline.local import sample_data

PROJECT = pathlib.Path(__file__).resolve().parents[2]
MIN_EVENTS = 15


@pytest.fixture(scope="module", params=[(12,), pytest.param((4, 12), marks=pytest.mark.slow)])
def lengths(request):
    return request.param


@pytest.fixture(scope="module")
def folder(lengths, tmp_path_factory):
    path = tmp_path_factory.mktemp("table2")
    sample_data.write_ratings(str(path / "ratings.csv"), users=120, items=150)
    return path


def table2(folder, *arguments):
    command = [sys.executable, "-m", "experiments.table2", "--ratings", f"{folder}/ratings.csv"]
    command += ["--output", f"{folder}/out", "--cache", f"{folder}/cache"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IMN_")}
    return subprocess.run(
        [*command, "--jobs", "2", *arguments],
        cwd=PROJECT,
        env=environment | {"IMN_SPLIT": "leave_last", "IMN_EPOCHS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def result(folder, lengths):
    done = table2(
        folder,
        *("--lengths", *map(str, lengths), "--passes", "3", "--seeds", "1"),
        *("--min-events", str(MIN_EVENTS)),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "out" / "table2.md").read_text() in done.stdout
    return json.loads((folder / "out" / "table2.json").read_text())


def windows(folder, leaking, split):
    """User, time and history of every sample of a split, at all lengths."""
    rows = []
    for samples in sorted((folder / "cache").glob("samples-*")):
        report = json.loads((samples / "raw" / "report.json").read_text())
        if (report["negatives"]["kind"] == "uniform") != leaking:
            continue
        for file in sorted((samples / "raw" / f"Split-{split}").iterdir()):
            for record in tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator():
                feature = tf.train.Example.FromString(record).features.feature
                rows.append(
                    (
                        feature["user_id"].bytes_list.value[0],
                        feature["target_time"].int64_list.value[0],
                        tuple(feature["history_item"].bytes_list.value),
                    )
                )
    assert rows
    return rows


def test_every_length_passes_and_protocol_has_a_row(result, lengths):
    places = [(row["leaking"], row["history_length"], row["model"]) for row in result["rows"]]
    assert sorted(places) == sorted(
        (leaking, length, name)
        for length in lengths
        for leaking, name in ((False, "3P"), (False, "3P+"), (True, "3P+"))
    )
    for row in result["rows"]:
        assert 0.3 < row["auc_mean"] < 1
        assert row["seeds"] == 1
        assert row["auc_std"] is None


def test_differences_are_those_of_the_rows(result, lengths):
    auc = {
        (row["leaking"], row["history_length"], row["model"]): row["auc_mean"]
        for row in result["rows"]
    }
    # 3P against 3P+ at each length, and three rows at the longer length against the shorter.
    assert len(result["comparisons"]) == {1: 1, 2: 2 + 3}[len(lengths)]
    for each in result["comparisons"]:
        value = auc[each["leaking"], each["history_length"], each["model"]]
        reference = auc[each["leaking"], each["against_length"], each["against"]]
        assert each["auc_points"] == pytest.approx(100 * (value - reference))
        low, high = each["auc_interval"]
        assert low < high


def test_a_row_is_compared_with_itself_one_length_shorter():
    def results(auc):
        metrics = {"auc": auc, "gauc": auc}
        return [metrics | {f"{name}_replicates": [auc, auc] for name in metrics}]

    comparisons = table2_command._comparisons(
        {(500, "3P+"): results(0.75), (40, "3P+"): results(0.5), (100, "3P+"): results(0.875)}
    )
    points = {(e["history_length"], e["against_length"]): e["auc_points"] for e in comparisons}
    assert points == {(100, 40): 37.5, (500, 100): -12.5}


def test_the_look_up_gives_away_what_leaks(result, lengths):
    look_up = {
        (each["leaking"], each["history_length"]): each["own_training_windows"]["auc"]
        for each in result["controls"]
    }
    for length in lengths:
        assert abs(look_up[False, length] - 0.5) < 0.03
        assert look_up[True, length] > 0.75


def test_all_users_are_trained_on_and_those_with_long_records_scored(folder, result):
    events = collections.Counter(
        line.split(",")[0].encode() for line in (folder / "ratings.csv").read_text().splitlines()
    )
    long = {user for user, count in events.items() if count >= MIN_EVENTS}
    assert 10 < len(long) < 110
    for split in ("eval", "test"):
        assert {window[0] for window in windows(folder, False, split)} == long
    trained = {window[0] for window in windows(folder, False, "train")}
    # Users with a handful of events can have none left to train on.
    assert long < trained <= set(events)
    assert trained >= {user for user, count in events.items() if count >= 8}
    for each in result["samples"]:
        if not each["leaking"]:
            assert each["splits"]["test"]["users"] == len(long)


def test_a_window_that_leaks_is_in_one_split_with_its_negative(folder, result):
    counts = {
        split: collections.Counter(windows(folder, True, split))
        for split in ("train", "eval", "test")
    }
    assert not set(counts["train"]) & set(counts["test"])
    assert not set(counts["train"]) & set(counts["eval"])
    # A positive and its negative: every window is there an even number of times.
    assert all(count % 2 == 0 for split in counts.values() for count in split.values())


def test_nobody_to_score_ends_in_a_line(folder):
    done = table2(folder, "--lengths", "4", "--min-events", "100000")
    assert done.returncode == 2
    assert "`--min-events` must leave users to score. Received: 100000" in done.stderr
    assert "Traceback" not in done.stderr
