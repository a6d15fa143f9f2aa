"""How stored runs are recognised, and which rows are compared."""

import fcntl
import sys
import threading
import types

import numpy as np
import pytest

from experiments import report, runs, table1, training
from experiments.training import Run


def samples(digest="a"):
    settings = types.SimpleNamespace(items="", use_time=True, use_position=True)
    return types.SimpleNamespace(digest=digest, settings=settings)


def test_the_same_settings_are_one_run_whatever_its_name():
    key = Run("in the ablation", "imn_3p_plus", "enhancement=false").key(samples())
    assert Run("imn_3p", "imn_3p").key(samples()) == key
    states = Run("", "imn_3p_plus", "states=true", {"history_dropout": 1.0})
    assert states.key(samples()) == Run("imn_states", "imn_states").key(samples())


@pytest.mark.parametrize(
    ("run", "digest"),
    [
        (Run("", "imn_3p_plus"), "a"),
        (Run("", "imn_3p", "passes=4"), "a"),
        (Run("", "imn_3p", "", {"epochs": 2}), "a"),
        (Run("", "imn_3p", seed=1), "a"),
        (Run("", "imn_3p"), "b"),
        (Run("", "youtube_dnn"), "a"),
    ],
)
def test_other_settings_samples_or_seeds_are_other_runs(run, digest):
    assert run.key(samples(digest)) != Run("", "imn_3p").key(samples())


def run_result(name, auc):
    metrics = {"auc": auc, "gauc": auc, "auc_replicates": np.full(5, auc)}
    return {"name": name, **metrics, "gauc_replicates": np.full(5, auc)}


def test_what_goes_beyond_the_paper_is_compared_with_the_papers_rows_only():
    aucs = {"din": 0.7, "imn_3p_plus": 0.75, "imn_states": 0.8}
    comparisons = table1.comparisons([run_result(name, auc) for name, auc in aucs.items()])
    points = {(each["model"], each["against"]): each["auc_points"] for each in comparisons}
    expected = {
        ("imn_3p_plus", "din"): 5,
        ("imn_states", "din"): 10,
        ("imn_states", "imn_3p_plus"): 5,
    }
    assert points == pytest.approx(expected)
    places = [
        table(comparisons).index(text)
        for text in ("| IMN 3P+ minus |", "| DIN | +5.00", "with states minus |", "| DIN | +10.00")
    ]
    assert places == sorted(places)


def test_a_table_says_what_other_code_has_made():
    version = training.code()
    here, other = {"code": version}, {"code": "0123456789ab"}
    assert runs.provenance([here, here]) == {"code": [version], "trained_by_this_code": True}
    assert not runs.provenance([here, other])["trained_by_this_code"]
    assert not runs.provenance([other, other])["trained_by_this_code"]
    assert "version" not in table([])
    assert "Versions of the code: ['one']." in table([], trained=False)
    assert "The samples come from another version of the code." in table([], samples_made=False)


def test_a_run_that_another_process_trains_is_waited_for(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(training, "_train_and_score", lambda *args: trained.append(args))
    run, path, work = Run("", "din"), tmp_path / "run.json", tmp_path / "work"
    work.mkdir()
    with open(work / f"{run.key(samples())}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        args = (run, samples(), str(path), str(work))
        waiting = threading.Thread(target=training.train, args=args)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        path.write_text("{}")
    waiting.join(10)
    assert not waiting.is_alive()
    assert not trained


def test_the_log_of_a_run_that_failed_says_why(tmp_path, monkeypatch):
    def fail(*args):
        raise ValueError("this rate is too high")

    monkeypatch.setattr(training, "_train_and_score", fail)
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # `train` sends it to the log
    with pytest.raises(ValueError, match="too high"):
        training.train(Run("", "din"), samples(), str(tmp_path / "run.json"), str(tmp_path))
    assert "this rate is too high" in (tmp_path / "run.json.log").read_text()


def table(comparisons, trained=True, samples_made=True):
    split = {"samples": 10, "users": 2}
    row = dict.fromkeys(("auc_std", "gauc_std", "logloss_std", "improvement_points"))
    row |= {"model": "din", "auc_mean": 0.7, "gauc_mean": 0.7, "logloss_mean": 0.5}
    return report.table1(
        {
            "date": "2026-01-01",
            "command": "python",
            "machine": "a machine",
            "samples": {
                "ratings": "ratings.csv",
                "split": "temporal",
                "negatives": "matched",
                "max_history_length": 9,
                "use_time": True,
                "splits": {"test": split},
                "made_by_this_code": samples_made,
            },
            "seeds": 1,
            "tuned": False,
            "rows": [{**row, "best_epoch_mean": 1.0, "examples_per_s": None}],
            "comparisons": comparisons,
            "controls": {},
            "code": ["one"],
            "trained_by_this_code": trained,
        }
    )
