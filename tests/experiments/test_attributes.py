"""The table of attributes: slices by how often training saw the target."""

import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from experiments import training
from pipeline.local import sample_data

PROJECT = pathlib.Path(__file__).resolve().parents[2]


def test_slices_of_six_rows_by_hand():
    user = np.array([1, 1, 2, 2, 2, 3], np.uint64)
    scores = np.array([0.9, 0.1, 0.2, 0.8, 0.7, 0.5])
    label = np.array([1, 0, 1, 0, 1, 1])
    got = training.by_target_events(user, scores, label, np.array([0, 0, 19, 5, 7, 20]))
    assert {name: each["rows"] for name, each in got.items()} == {
        "0": 2,
        "1 to 4": 0,
        "5 to 19": 3,
        "20 or more": 1,
    }
    assert got["0"]["auc"] == got["0"]["gauc"] == 1.0
    # The negative of user 2, .8, is above both positives.
    assert got["5 to 19"]["auc"] == got["5 to 19"]["gauc"] == 0.0
    assert math.isnan(got["1 to 4"]["auc"])
    assert math.isnan(got["20 or more"]["gauc"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("attributes")
    catalogue = str(path / "items.jsonl")
    sample_data.write_ratings(str(path / "ratings.csv"), users=120, items=150, catalogue=catalogue)
    return path


def test_the_table_has_a_column_for_each_slice(folder):
    command = [sys.executable, "-m", "experiments.attributes", "--max-history-length", "8"]
    command += ["--ratings", f"{folder}/ratings.csv", "--items", f"{folder}/items.jsonl"]
    command += ["--output", f"{folder}/out", "--cache", f"{folder}/cache", "--jobs", "1"]
    command += ["--models", "ubr4ctr", "--ways", "ids and attributes"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IMN_")}
    environment |= {"IMN_SPLIT": "leave_last", "IMN_EPOCHS": "1"}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    [row] = json.loads((folder / "out" / "attributes.json").read_text())["rows"]
    # Counted from the file: leave_last keeps each user's last ratings out of training.
    (samples,) = (folder / "cache").glob("samples-*")
    with np.load(samples / "test.npz") as test:
        count = len(test["label"])
    rows = [row["by_target_events"][name]["rows"] for name, *_ in training.TARGET_EVENTS]
    assert sum(rows) == count
    assert min(rows[1:]) > 0
    assert "| GAUC | 0 | 1 to 4 | 5 to 19 | 20 or more |" in done.stdout
    assert f"{rows[3]:,} rows with 20 or more" in done.stdout
