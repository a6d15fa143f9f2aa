"""The head and the legend of a report, from artifacts that are written by hand."""

import json
import re
import sys
from importlib import metadata

from ml_metadata.proto import metadata_store_pb2

from pipeline.configs import Settings
from pipeline.local import legend, report_head
from pipeline.local.lineage import Step

EVALUATIONS = [
    {"epoch": 0, "step": 500, "eval_auc": 0.61, "eval_loss": 0.69},
    {"epoch": 0, "step": 1_000, "eval_auc": 0.71, "eval_loss": 0.60},
    {"epoch": 1, "step": 1_500, "eval_auc": 0.70, "eval_loss": 0.62},
]
TRAINING = {
    "model": "din",
    "config": {"embedding_dim": 8},
    "recipe": {"epochs": 2, "patience": 1},
    "seed": 5,
    "best": EVALUATIONS[1],
    "evaluations": EVALUATIONS,
}


def trainer(folder):
    (folder / "training.json").write_text(json.dumps(TRAINING))
    artifact = metadata_store_pb2.Artifact(uri=str(folder))
    artifact.create_time_since_epoch = 1_393_632_000_000  # 2014-03-01, in milliseconds
    return Step(False, {"model_run": [artifact]})


def head(folder, generated=False, **settings):
    return report_head.head(Settings(**settings), generated, trainer(folder))


def test_the_head_says_which_run_the_report_is_of(tmp_path):
    given = {
        "ratings": "/data/books.csv",
        "items": "/data/items.jsonl",
        "model": "din",
        "model_options": "embedding_dim=8",
        "max_history_length": 20,
        "use_time": False,
        "training_seed": 5,
        "sampling_seed": 3,
        "metadata": "mysql://me:secret@host/db",
    }
    found = head(tmp_path, **given)
    json.dumps(found)
    assert found["settings"] == {
        "model_options": "embedding_dim=8",
        "max_history_length": 20,
        "use_time": False,
    }
    assert found["trained"] == "2014-03-01 00:00 UTC"
    lines = report_head.lines(found)
    said = {name: text.strip() for name, text in (line.split(":", 1) for line in lines)}
    assert list(said) == [
        "Run",
        "Model",
        "Ratings",
        "Catalogue",
        "Settings",
        "Training",
        "Versions",
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC, trained 2014-03-01 00:00 UTC", said["Run"])
    assert said["Model"] == "din, seed 5 of the training, 3 of the samples"
    assert (said["Ratings"], said["Catalogue"]) == ("/data/books.csv", "/data/items.jsonl")
    assert said["Training"] == (
        "stopped early: no better AUC in 1 evaluation; epoch 1 is kept "
        "(step 1,000, eval AUC 0.7100)"
    )
    assert f"TensorFlow {metadata.version('tensorflow')}" in said["Versions"]
    assert f"Python {sys.version.split()[0]}" in said["Versions"]
    assert "secret" not in json.dumps(found) + "".join(lines)


def test_the_settings_line_gives_the_same_settings_again(tmp_path):
    """A shell that reads the line as assignments would run with the same settings."""
    import shlex

    given = {"beam_args": "--a=1 --b='x y'", "use_ids": False, "min_auc": 0.6, "epochs": 2}
    (line,) = (
        text.split(":", 1)[1]
        for text in report_head.lines(head(tmp_path, ratings="r", items="i", **given))
        if text.startswith("Settings:")
    )
    words, rest = line.split("; all others by default")
    assert rest == ""
    environment = dict(word.split("=", 1) for word in shlex.split(words))
    again = Settings.from_environment(environment)
    assert {name: getattr(again, name) for name in given} == given
    assert set(environment) == {f"IMN_{name.upper()}" for name in given}


def test_generated_ratings_and_a_run_without_settings_are_named(tmp_path):
    text = "\n".join(report_head.lines(head(tmp_path, generated=True, ratings="runs/data/g.csv")))
    assert "runs/data/g.csv (generated from a seed, not real)" in text
    assert "Catalogue: none" in text
    assert re.search(r"^Settings: +all by default$", text, re.MULTILINE)


def report(constant, rows, model_rows, catalogue=None):
    return {
        "ingestion": {"history_buckets": {"medium_from": 12, "long_from": 49}},
        "metrics": {"overall": {"constant_log_loss": constant, "rows": rows}},
        "controls": {"model_rows": model_rows},
        "catalogue": catalogue,
    }


def test_the_legend_has_every_column_with_direction_chance_and_bounds():
    catalogue = {"rows": 1_000, "popular_items": 30, "popular_targets": 0.125}
    lines = legend.lines(report(0.56234, 39_088, 9_998, catalogue))
    assert max(map(len, lines)) <= 100
    text = " ".join(" ".join(lines).split())
    for said in (
        "auc AUC: the probability that a positive row scores above a negative one. Higher",
        "gauc group AUC (GAUC): the mean of each user's own AUC",
        "Lower is better; a constant score has 0.5623.",
        "training loss of the progress lines is another quantity",
        "sum of scores / sum of labels. 1 is right; above 1 the scores are too high",
        "short below 12, medium from 12, long from 49",
        "rows with the model use 9,998 of 39,088 test rows",
        "each of 1,000 positives asks for the best of all items",
        "among the 30 most frequent items of training; of what users chose it is 0.1250",
    ):
        assert said in text
    assert text.count("chance is .5") == 2


def test_the_legend_of_a_split_of_one_class_has_no_constant():
    assert "has -." in " ".join(legend.lines(report(None, 0, 0)))


def test_a_model_without_a_first_stage_has_no_line_on_the_catalogue():
    assert "whole catalogue" not in " ".join(legend.lines(report(None, 0, 0)))
