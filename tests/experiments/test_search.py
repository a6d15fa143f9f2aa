"""Which settings the search keeps, by scores worked out by hand instead of trainings."""

import argparse

import pytest

from experiments import runs, search

# Eval AUC of a setting after one epoch, and trained to the end.
SCORES = {
    "learning_rate=0.001": (0.70, None),
    "learning_rate=0.003": (0.73, 0.80),
    "learning_rate=0.003,embedding_dim=16": (0.72, None),
    "learning_rate=0.003,dropout=0.2": (0.74, 0.79),
    "learning_rate=0.003,dropout=0.2,table_l2=0.01": (0.71, None),
    "learning_rate=0.003,dropout=0.2,head_units=256x128": (0.72, None),
}


@pytest.fixture
def trained(monkeypatch):
    """The settings that were trained, in order, and whether for one epoch only."""
    settings = []

    def run_all(planned, shared, folder, work, log):
        [run] = planned
        recipe = dict(run.recipe)
        short = recipe.pop("epochs", None) == 1
        recipe.pop("evaluations_per_epoch", None)
        rate = f"learning_rate={recipe.pop('learning_rate')}" if "learning_rate" in recipe else ""
        decay = ",".join(f"{name}={value}" for name, value in recipe.items())
        setting = ",".join(filter(None, [rate, run.options, decay]))
        settings.append((setting, short))
        return [{"eval_auc": SCORES[setting][0 if short else 1]}]

    monkeypatch.setattr(runs, "run_all", run_all)
    return settings


def test_each_trial_changes_the_best_and_the_best_two_are_trained_to_the_end(trained):
    args = argparse.Namespace(models=["youtube_dnn"], jobs=1, cache="")
    found = search.search(args, None, "")["youtube_dnn"]
    assert trained == [
        *((setting, True) for setting in SCORES),
        ("learning_rate=0.003,dropout=0.2", False),
        ("learning_rate=0.003", False),
    ]
    # The second after one epoch is the first in the end.
    assert found["options"] == ""
    assert found["recipe"] == {"learning_rate": 3e-3}
    assert found["trained_eval_auc"] == 0.80
    result = {
        **{"date": "today", "command": "c", "machine": "m"},
        "samples": {"ratings": "r.csv"},
        "models": {"youtube_dnn": found},
    }
    text = search.markdown(result)
    assert "| youtube_dnn | 2 | learning_rate=0.003 | 0.7300 | **0.8000** |" in text
    assert "| youtube_dnn | 4 | dropout=0.2 | 0.7400 | 0.7900 |" in text
    assert text.count("**") == 2
