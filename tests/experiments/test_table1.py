"""The first table and the ablation on a tiny file, through their commands.

By default with three of the nine models; with all of them under the marker `slow`.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from pipeline.local import sample_data

PROJECT = pathlib.Path(__file__).resolve().parents[2]
NINE = (
    "youtube_dnn",
    "din",
    "dien",
    "sasrec",
    "mimn",
    "ubr4ctr",
    "imn_2p",
    "imn_3p",
    "imn_3p_plus",
)
THREE = ("youtube_dnn", "imn_3p", "imn_3p_plus")


@pytest.fixture(
    scope="module", params=[THREE, pytest.param(NINE, marks=pytest.mark.slow)], ids=["3", "9"]
)
def models(request):
    return request.param


@pytest.fixture(scope="module")
def folder(models, tmp_path_factory):
    path = tmp_path_factory.mktemp("table1")
    sample_data.write_ratings(str(path / "ratings.csv"), users=120, items=150)
    return path


def table(name, folder, *arguments, **settings):
    command = [sys.executable, "-m", f"experiments.{name}", "--ratings", f"{folder}/ratings.csv"]
    command += ["--max-history-length", "8", "--output", f"{folder}/out"]
    command += ["--cache", f"{folder}/cache", "--jobs", "2", *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IMN_")}
    return subprocess.run(
        command,
        cwd=PROJECT,
        env=environment | {"IMN_SPLIT": "leave_last", "IMN_EPOCHS": "1"} | settings,
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_models_on_the_same_samples(folder, models):
    # Nine are the default of the command.
    options = () if models == NINE else ("--models", *models)
    done = table("table1", folder, "--seeds", "1", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((folder / "out" / "table1.json").read_text())
    assert sorted(row["model"] for row in result["rows"]) == sorted(models)
    aucs = [row["auc_mean"] for row in result["rows"]]
    assert aucs == sorted(aucs, reverse=True)
    reference = next(row for row in result["rows"] if row["model"] == "youtube_dnn")
    for row in result["rows"]:
        assert 0.3 < row["auc_mean"] < 0.9
        assert row["examples_per_s"] > 0
        points = 100 * (row["auc_mean"] - reference["auc_mean"])
        assert row["improvement_points"] == pytest.approx(points)
        assert row["logloss_mean"] > 0
    assert {each["against"] for each in result["comparisons"]} == set(models) - {"imn_3p_plus"}
    for each in result["comparisons"]:
        low, high = each["auc_interval"]
        assert low < high
        assert low - 1 < each["auc_points"] < high + 1
    assert abs(result["controls"]["popularity"]["auc"] - 0.5) < 0.1
    assert set(result["controls"]["other_users_history"]) == set(models)
    text = (folder / "out" / "table1.md").read_text()
    assert text in done.stdout
    assert "IMN 3P+" in text
    assert (folder / "out" / "table1.png").stat().st_size > 5000


def test_the_ablation_reuses_the_runs_of_the_table(folder):
    earlier = len(list((folder / "out" / "cells").glob("*.json")))
    done = table(
        *("ablation", folder, "--seeds", "1"),
        *("--variants", "imn_3p_plus", "softmax", "without differences"),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # Softmax is the default, so it is 3P+ itself; 3P+ was trained for the table.
    assert "1 of 2 runs are done, 1 to train." in done.stdout
    assert len(list((folder / "out" / "cells").glob("*.json"))) == earlier + 1
    result = json.loads((folder / "out" / "ablation.json").read_text())
    assert {row["model"] for row in result["rows"]} == {"imn_3p_plus", "without differences"}
    table1_rows = json.loads((folder / "out" / "table1.json").read_text())["rows"]
    [ours] = [row["auc_mean"] for row in table1_rows if row["model"] == "imn_3p_plus"]
    auc = {row["model"]: row["auc_mean"] for row in result["rows"]}
    assert auc["imn_3p_plus"] == ours
    [difference] = result["comparisons"]
    assert difference["against"] == "without differences"
    points = 100 * (ours - auc["without differences"])
    assert difference["auc_points"] == pytest.approx(points)
    assert difference["auc_seeds_ahead"] == (points > 0)
    assert "popularity" in result["controls"]
    text = (folder / "out" / "ablation.md").read_text()
    assert "| without differences |" in text
    assert "examples/s" not in text


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("IMN_SPLIT", "random", "`split` must be one of"),
        ("IMN_MODEL_OPTIONS", "passes=2", "`IMN_MODEL_OPTIONS` is set but not used"),
    ],
)
def test_a_wrong_setting_ends_in_a_line(folder, name, value, message):
    done = table("table1", folder, **{name: value})
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tuned", "missing.json"], "`--tuned` must name a search.json of experiments.search"),
        (["--jobs", "0"], "argument --jobs: must be 1 or more. Received: 0"),
        (["--seeds", "0"], "argument --seeds: must be 1 or more. Received: 0"),
    ],
)
def test_a_wrong_argument_ends_in_a_line_before_anything_is_made(folder, arguments, message):
    done = table("table1", folder, *arguments, "--cache", f"{folder}/other")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "other").exists()
