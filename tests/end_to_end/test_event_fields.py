"""Event fields through the real commands: from ratings to a pushed model and recommendations.

With a catalogue, so that a newer one is tried on a model that has both.
"""

import json
import re
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.support import commands
from tests.support.commands import call, outcomes, run, versions

FIELDS = {"IMN_EVENT_FIELDS": "rating", "IMN_ITEMS": "items.jsonl"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    commands.copy_project(folder)
    commands.shutil.copytree(commands.PROJECT / "recommend", folder / "recommend")
    return folder


def test_a_name_that_is_no_column_stops_before_anything_is_written(project):
    refused = run(project, IMN_EVENT_FIELDS="ratings")
    assert refused.returncode == 2
    assert "Received: 'ratings'. Did you mean rating?" in refused.stdout
    assert not (project / "out" / "pipeline").exists()


def test_a_run_with_the_rating_of_each_event_pushes(project):
    done = run(project, **FIELDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "history_rating column 3 = " in done.stdout
    assert len(versions(project)) == 1
    again = run(project, **FIELDS)
    assert outcomes(again)["RatingsExampleGen"] == outcomes(again)["Trainer"] == "reused"


def test_the_pushed_model_reads_the_ratings(project):
    (version,) = versions(project)
    folder = project / "out" / "serving_model" / "imn" / version
    assert {"1.0", "2.0", "3.0", "4.0", "5.0"} == set(
        (folder / "assets" / "event_rating").read_text().split()
    )
    model = tf.saved_model.load(str(folder))
    rows = [line.split(",") for line in (project / "ratings.csv").read_text().splitlines()]
    history = [row for row in rows if row[0] == rows[0][0]][:10]

    def rank(ratings):
        scores = model.signatures["rank"](
            history_item=tf.constant([[row[1] for row in history]]),
            history_time=tf.constant([[int(row[3]) for row in history]], tf.int64),
            history_length=tf.constant([len(history)], tf.int64),
            history_rating=tf.constant([ratings]),
            request_time=tf.constant([1_500_000_000], tf.int64),
            candidates=tf.constant([[row[1] for row in rows[:50]]]),
        )
        return scores["scores"].numpy()

    own = rank([row[2] for row in history])
    assert np.abs(own - rank(["1.0"] * len(history))).max() > 0


def recommend(project, **settings):
    user = (project / "ratings.csv").read_text().partition(",")[0]
    command = [sys.executable, "-m", "recommend", user, "--output", "out"]
    done = call(project, command, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_recommend_reads_them_from_the_ratings_file(project):
    shown = recommend(project, **FIELDS)
    # The model says what it needs; a user need not.
    assert recommend(project) == shown
    assert "rank   score  first stage  item" in shown


def ranked(shown):
    """What stands beside the score of each recommended item, by its id."""
    lines = (line.split(maxsplit=3) for line in shown.splitlines())
    return {line[3].split()[0]: line[3] for line in lines if line and line[0].isdigit()}


def test_recommend_shows_titles_and_attributes_of_the_catalogue(project):
    rows = [json.loads(line) for line in (project / "items.jsonl").read_text().splitlines()]
    shown = ranked(recommend(project))
    row = next(
        row for row in rows if row["asin"] in shown and row.get("brand") and row.get("price")
    )
    price = float(row["price"].removeprefix("$"))
    assert shown[row["asin"]].startswith(f"{row['asin']}  {row['title']}  (")
    assert row["brand"] in shown[row["asin"]]
    assert f"price {price:g})" in shown[row["asin"]]
    # Without the catalogue, the attributes are those in the model: prices are ranges there.
    (project / "items.jsonl").rename(project / "moved.jsonl")
    moved = recommend(project)
    (project / "moved.jsonl").rename(project / "items.jsonl")
    assert "Attributes are those that the model has; the catalogue cannot be read" in moved
    told = ranked(moved)[row["asin"]]
    assert told.startswith(f"{row['asin']}  (")
    assert row["brand"] in told
    low, high = re.search(r"price (?:([\d.]+) to |below )?([\d.]+)", told).groups("0")
    assert float(low) <= price < float(high) or "or more" in told


def test_a_newer_catalogue_for_a_model_with_event_fields(project):
    lines = (project / "items.jsonl").read_text().splitlines()
    known = next(row for row in map(json.loads, lines) if row.get("brand"))
    added = json.dumps(known | {"asin": "NEW", "title": "New thing"})
    (project / "newer.jsonl").write_text("\n".join([*lines, added]))
    before = versions(project)
    command = [sys.executable, "-m", "pipeline.local.catalogue"]
    # The settings of the command do not name the event fields: the model says what it needs.
    done = call(project, command, IMN_ITEMS="newer.jsonl")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Items: 601: 1 new, 0 changed, 600 as before; 0 are gone." in done.stdout
    (pushed,) = set(versions(project)) - set(before)
    old, new = (
        tf.saved_model.load(str(project / "out" / "serving_model" / "imn" / version)).signatures
        for version in (*before, pushed)
    )
    events = [[known["asin"], "unknown"]]
    request = {
        "history_item": tf.constant(events),
        "history_time": tf.constant([[1_300_000_000] * 2], tf.int64),
        "history_length": tf.constant([2], tf.int64),
        "history_rating": tf.constant([["5.0", "1.0"]]),
        "request_time": tf.constant([1_400_000_000], tf.int64),
        "candidates": tf.constant([[known["asin"], "NEW"]]),
    }
    first, second = old["explain"](**request), new["explain"](**request)
    np.testing.assert_allclose(first["scores"][0, 0], second["scores"][0, 0], atol=1e-6)
    before_text, after_text = (
        answer["candidate_attributes"].numpy()[0].tolist() for answer in (first, second)
    )
    assert before_text[1] == b""
    assert after_text == [before_text[0]] * 2
    assert known["brand"].encode() in after_text[0]
    assert second["history_attributes"].numpy()[0].tolist() == [after_text[0], b""]
