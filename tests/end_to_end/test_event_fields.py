"""Event fields through the real commands: from ratings to a pushed model and recommendations."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.support import commands
from tests.support.commands import call, outcomes, run, versions

FIELDS = {"IMN_EVENT_FIELDS": "rating"}


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


def test_recommend_reads_them_from_the_ratings_file(project):
    user = (project / "ratings.csv").read_text().partition(",")[0]
    done = call(project, [sys.executable, "-m", "recommend", user, "--output", "out"], **FIELDS)
    assert done.returncode == 0, done.stdout + done.stderr
    # The model says what it needs; a user need not.
    again = call(project, [sys.executable, "-m", "recommend", user, "--output", "out"])
    assert again.stdout == done.stdout
    assert "rank   score  item" in done.stdout
