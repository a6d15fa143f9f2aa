"""Attributes through the real commands: from a catalogue to a served score, and a newer catalogue.

One story in the order of the tests.
"""

import json
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.examples import notebooks
from tests.support import commands
from tests.support.commands import call, outcomes, run, versions


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    commands.copy_project(folder)
    return folder


def rank(project, version, candidates):
    model = tf.saved_model.load(str(project / "out" / "serving_model" / "imn" / version))
    rows = [line.split(",") for line in (project / "ratings.csv").read_text().splitlines()]
    history = [row[1].encode() for row in rows if row[0] == rows[0][0]][:10]
    request = {
        "history_item": tf.constant([history]),
        "history_time": tf.fill([1, len(history)], tf.constant(1_300_000_000, tf.int64)),
        "history_length": tf.constant([len(history)], tf.int64),
        "request_time": tf.constant([1_400_000_000], tf.int64),
        "candidates": tf.constant([candidates]),
    }
    return model.signatures["rank"](**request)["scores"].numpy()[0]


def catalogue(project, items):
    return call(project, [sys.executable, "-m", "pipeline.local.catalogue"], IMN_ITEMS=items)


def test_a_run_with_a_catalogue_pushes_and_says_what_it_read(project):
    done = run(project, IMN_ITEMS="items.jsonl")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fields: category (category), brand (category), price (number)" in done.stdout
    assert "left out: average_rating (may only be known after the ratings)" in done.stdout
    assert "Items: 600 of 600 rows, 100.0% of training events" in done.stdout
    assert "similarity of attributes to the history, without training" in done.stdout
    report = json.loads((project / "out" / "report" / "report.json").read_text())
    controls = report["controls"]["controls"]
    # Attributes of the generated items tell their interest; those of other items tell nothing.
    assert controls["attribute_similarity"]["auc"] > 0.65
    assert controls["model"]["auc"] > controls["other_items_attributes"]["auc"] + 0.03
    assert len(versions(project)) == 1


# What `test_the_tour` looks at, and the layer that the notebook writes, on numbers of the test.
ASKED = """dict(
    auc=metrics["overall"]["auc"], in_keras=in_keras, over_rest=over_rest, aucs=aucs,
    attention=attention.tolist(), history=history, target=target, known=known,
    best=best["items"].tolist(), steps=int(own.optimizer.iterations),
    mean=own.block(
        tf.constant([[[9.0], [1.0], [2.0], [4.0]]]), tf.constant([[False, True, True, True]]),
        tf.zeros([1, 1, 1]),
    ).numpy().tolist(),
)"""


def test_the_tour(project, tmp_path, monkeypatch):
    """examples/tour.ipynb on this run: its numbers are those of the ratings and of the report."""
    monkeypatch.setenv("TOUR_OUTPUT", str(project / "out"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook, seen = notebooks.run(notebooks.TOUR, ASKED)
    report = json.loads((project / "out" / "report" / "report.json").read_text())
    assert seen["auc"] == report["metrics"]["overall"]["auc"]
    assert seen["in_keras"] == pytest.approx(seen["over_rest"], abs=1e-5)

    rows = [line.split(",") for line in (project / "ratings.csv").read_text().splitlines()]
    users = {row[0]: [] for row in rows}
    for user, item, *_ in sorted(rows, key=lambda row: int(row[3])):
        users[user].append(item)
    # The history and its target are consecutive events of one user.
    events = ",".join([*seen["history"], seen["target"]])
    assert any(events in ",".join(items) for items in users.values())
    catalogue = [json.loads(line) for line in (project / "items.jsonl").read_text().splitlines()]
    brands = {row["asin"]: row.get("brand", "") for row in catalogue}
    for item, text in zip(seen["history"], seen["known"], strict=True):
        assert brands[item] in text

    assert np.shape(seen["attention"]) == (3, len(seen["history"]))
    np.testing.assert_allclose(np.sum(seen["attention"], axis=1), 1, atol=1e-4)
    assert len(set(seen["best"])) == 10
    assert set(seen["best"]) <= set(brands) - set(seen["history"])

    # Half lives of 3 events: (4 + 2 * 2^(-1/3) + 1 * 2^(-2/3)) / (1 + 2^(-1/3) + 2^(-2/3)).
    assert seen["mean"] == [[[pytest.approx(2.565277, abs=1e-5)]]]
    assert seen["steps"] > 0
    # Keras' AUC has 200 thresholds, the trainer's is exact.
    best = report["run"]["best"]["eval_auc"]
    assert seen["aucs"]["imn_3p_plus"] == pytest.approx(best, abs=0.005)
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "data" in o]
    assert sum("image/png" in output.data for output in pictures) == 1


def test_another_catalogue_runs_again_from_the_table_on(project):
    again = run(project, IMN_ITEMS="items.jsonl")
    assert outcomes(again)["ItemTable"] == "reused", again.stdout
    assert outcomes(again)["Trainer"] == "reused"
    # The first items of a catalogue that is generated are the most popular ones.
    partial = (project / "items.jsonl").read_text().splitlines()[-200:]
    (project / "partial.jsonl").write_text("\n".join(partial))
    refused = run(project, IMN_ITEMS="partial.jsonl")
    assert refused.returncode == 2
    assert "must know at least half of the ratings" in refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr
    assert outcomes(refused)["RatingsExampleGen"] == "reused"
    assert len(versions(project)) == 1


def test_a_newer_catalogue_gives_new_items_their_attributes(project):
    lines = (project / "items.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    known = rows[5]
    (project / "newer.jsonl").write_text(
        "\n".join([*lines, *(json.dumps(known | {"asin": f"NEW{n}"}) for n in (1, 2))])
    )
    done = catalogue(project, "newer.jsonl")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Items: 602: 2 new, 0 changed, 600 as before; 0 are gone." in done.stdout
    before, after = versions(project)
    items = [row["asin"].encode() for row in rows[:50]]
    first, second = (
        rank(project, version, [*items, b"NEW1", b"NEW2"]) for version in (before, after)
    )
    np.testing.assert_allclose(first[:50], second[:50], atol=1e-6)
    # Both share attributes and the row of new items; before, they were unknown.
    assert second[50] == pytest.approx(second[51], abs=1e-6)
    assert abs(first[50] - second[50]) > 1e-4
    again = catalogue(project, "newer.jsonl")
    assert "Served already" in again.stdout, again.stdout + again.stderr
    assert versions(project) == [before, after]


def test_a_run_after_the_newer_catalogue_compares_and_pushes(project):
    done = run(project, IMN_ITEMS="newer.jsonl", IMN_TRAINING_SEED="1", IMN_RETRIEVAL="0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "served model 0." in done.stdout
    assert len(versions(project)) == 3


def test_attributes_alone(project):
    done = run(project, IMN_ITEMS="items.jsonl", IMN_USE_IDS="false", IMN_RETRIEVAL="0")
    assert done.returncode == 0, done.stdout + done.stderr
    refused = run(project, IMN_USE_IDS="false")
    assert refused.returncode == 2
    assert "`use_ids` must be true without attributes" in refused.stdout
