"""The real commands, on a copy of the project and a small generated file of ratings.

One story in the order of the tests: each starts from what the one before left.
"""

import importlib.util
import json
import os
import re
import sys
import tarfile

import pytest

from tests.support import commands
from tests.support.commands import PROJECT, TFX, call, outcomes, run, versions
from tests.support.pages import browser
from tests.support.pages.browser import needs_chromium


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    commands.copy_project(folder)
    return folder


def test_the_tfx_command_line_runs_the_pipeline_to_a_pushed_model(project):
    created = call(
        project,
        [TFX, "pipeline", "create", "--engine=local", "--pipeline_path=local_runner.py"],
    )
    assert created.returncode == 0, created.stderr[-3000:]
    assert versions(project) == []  # creating a pipeline runs nothing
    done = call(project, [TFX, "run", "create", "--engine=local", "--pipeline_name=imn"])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (version,) = versions(project)
    assert (project / "out" / "serving_model" / "imn" / version / "saved_model.pb").exists()
    assert version in done.stdout
    report = json.loads((project / "out" / "report" / "report.json").read_text())
    assert report["verdict"]["blessed"]
    assert 0.0 < report["metrics"]["overall"]["auc"] < 1.0
    assert re.search(r"^Pushed: ", done.stdout, re.MULTILINE)


def test_the_report_says_which_run_it_is_of_what_was_read_and_what_columns_mean(project):
    """On the numbers of the ratings themselves and of the settings of the tests."""
    text = (project / "out" / "report" / "report.txt").read_text()
    run_of = json.loads((project / "out" / "report" / "report.json").read_text())["run"]
    assert text.startswith("Run: ")
    said = dict(re.findall(r"^(\w+): +(.+)$", text, re.MULTILINE))
    assert said["Model"].startswith("imn_3p_plus, seed 0")
    assert said["Ratings"] == str(project / "ratings.csv") == run_of["ratings"]
    for setting in ("IMN_MAX_HISTORY_LENGTH=20", "IMN_MODEL_OPTIONS=embedding_dim=8"):
        assert setting in said["Settings"].split()
    assert "IMN_SPLIT" not in said["Settings"]  # by default
    assert said["Training"].startswith("all epochs are done (1); epoch 1 is kept (step ")
    best = max(evaluation["eval_auc"] for evaluation in run_of["evaluations"])
    assert f"eval AUC {best:.4f}" in said["Training"]
    assert "TensorFlow 2." in said["Versions"]

    rows = [line.split(",") for line in (project / "ratings.csv").read_text().splitlines()]
    users = {row[0] for row in rows}
    assert said["Read"].startswith(f"{len(rows):,} events of {len(users):,} users")
    assert said["Samples"].startswith("train ")

    legend = " ".join(text.split("Legend")[1].split("Gate:")[0].split())
    for column in ("auc", "gauc", "log_loss", "calibration", "history_bucket", "target_bucket"):
        assert f" {column} " in f" {legend} "
    assert legend.count("chance is .5") == 2
    assert "a constant score has 0.6931" in legend  # one negative a positive: ln 2


@needs_chromium
def test_the_report_is_a_page_too(project):
    """The real page of the run, in a browser."""
    path = project / "out" / "report" / "index.html"
    with browser.chromium() as chromium:
        page, said, requests = browser.opened(chromium, path, 390)
        page.wait_for_function("document.documentElement.dataset.drawn")
        assert (said, requests) == ([], [path.as_uri()])
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        charts = page.query_selector_all(".chart svg")
        assert len(charts) == page.evaluate("Number(document.documentElement.dataset.drawn)")
        assert len(charts) >= 18
        text = page.inner_text("body")
    (version,) = versions(project)
    assert f"serving_model/imn/{version}" in text
    assert "Attention by age" in text
    assert len(json.loads((path.parent / "report.json").read_text())["metrics"]) >= 4
    for view in ("tfdv.html", "tfma.html"):
        assert (path.parent / view).stat().st_size > 100_000
    kept = list((path.parent / "runs").iterdir())
    costs = json.loads(kept[0].read_text())["costs"]
    assert costs["Trainer"]["seconds"] > 1
    assert costs["Trainer"]["peak_memory_mb"] > 300


def test_the_pushed_model_recommends_what_is_new_to_a_user_of_its_ratings(project):
    """Without being told which ratings those are."""
    rows = [line.split(",") for line in (project / "ratings.csv").read_text().splitlines()]
    user = rows[0][0]
    done = call(
        project,
        [sys.executable, "-m", "recommend", user, "--output", "out"],
        IMN_RATINGS="",
    )
    assert done.returncode == 0, done.stderr
    best = re.findall(r"^ +\d+  0\.\d{4} +\d+  (\w+)$", done.stdout, re.MULTILINE)
    assert len(set(best)) == 10
    assert set(best) <= {row[1] for row in rows} - {row[1] for row in rows if row[0] == user}
    assert done.stdout.count("pass 3, mean ") == 10


def test_a_catalogue_for_a_model_without_attributes_is_refused(project):
    command = [sys.executable, "-m", "pipeline.local.catalogue"]
    refused = call(project, command, IMN_ITEMS="items.jsonl")
    assert refused.returncode == 2
    assert "was trained without a catalogue" in refused.stdout
    missing = call(project, command)
    assert missing.returncode == 2
    assert "No catalogue given" in missing.stdout


def test_the_same_run_again_reuses_everything_and_leaves_one_version(project):
    before = versions(project)
    done = run(project)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = {name for name, outcome in outcomes(done).items() if outcome != "reused"}
    # The version that is served was new to the first run's Pusher; nothing is copied again.
    assert ran <= {"Pusher", "Baseline"}
    assert versions(project) == before
    assert re.search(rf"^Served already: .*/{before[0]}$", done.stdout, re.MULTILINE)
    assert "Pushed: " not in done.stdout


def test_an_edited_layer_trains_again_and_nothing_before_it(project):
    layer = project / "model" / "layers" / "encoder.py"
    layer.write_text(layer.read_text() + "\n_EDITED = True\n")
    done = run(project)
    assert done.returncode == 0, done.stdout + done.stderr
    got = outcomes(done)
    assert {name for name, outcome in got.items() if outcome == "reused"} == {
        "RatingsExampleGen",
        "HistorySchema",
        "StatisticsGen",
        "ExampleValidator",
        "AnomalyStop",
        "Transform",
    }
    assert "Trainer" in got


def test_the_gate_refuses_with_status_3_and_pushes_nothing(project):
    before = versions(project)
    done = run(project, IMN_MIN_AUC="0.9999")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "0.9999" in done.stdout
    assert "the version that was served before still is" in done.stdout
    assert outcomes(done)["Trainer"] == "reused"
    assert versions(project) == before


def test_two_runs_side_by_side(project):
    """The page of the run that was refused, and of it beside the one that was pushed first."""
    report = project / "out" / "report"
    refused = (report / "index.html").read_text()
    assert "Refused" in refused
    kept = sorted(path for path in (report / "runs").iterdir())
    old = next(path for path in kept if json.loads(path.read_text())["report"]["pushed"])
    done = call(
        project,
        [sys.executable, "-m", "pipeline.local.page", "--output", "out", "--old", old],
    )
    assert done.returncode == 0, done.stderr
    two = (report / "compare.html").read_text()
    assert "setting min_auc" in two
    assert "so the metrics are of the same test rows" in two


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"IMN_RATINGS": "missing.csv"}, "missing.csv"),
        ({"IMN_MODEL": "transformer"}, "transformer"),
        ({"IMN_OUTPUT": "ratings.csv"}, "`output` must be a folder"),
        ({"IMN_RATINGS": ""}, "by one trained on generated ratings"),
        ({"IMN_MAX_HISTORY": "3"}, "IMN_MAX_HISTORY_LENGTH"),
    ],
)
def test_a_mistake_ends_with_status_2_and_a_line(project, settings, says):
    before = versions(project)
    done = run(project, **settings)
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert versions(project) == before


def test_the_kubeflow_package_names_the_image_and_no_local_path(project):
    settings = {"IMN_IMAGE": "registry.example/imn:7", "IMN_RATINGS": "/mnt/imn/ratings/*.csv"}
    compile_ = [TFX, "pipeline", "compile", "--engine=kubeflow"]
    compile_ += ["--pipeline_path=kubeflow_runner.py"]
    if importlib.util.find_spec("tfx.orchestration.kubeflow.kubeflow_dag_runner") is None:
        # TFX 1.16 and later compile for Kubeflow Pipelines 2, and not on their command line.
        compile_ = [sys.executable, "kubeflow_runner.py"]
        settings |= {"IMN_STORAGE_ROOT": "gs://bucket/imn", "IMN_RATINGS": "gs://bucket/*.csv"}
    done = call(project, compile_, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    if (project / "imn.yaml").exists():
        text = (project / "imn.yaml").read_text()
    else:
        with tarfile.open(project / "imn.tar.gz") as package:
            (member,) = package.getnames()
            text = package.extractfile(member).read().decode()
        assert "claimName: imn" in text
    assert "image: registry.example/imn:7" in text
    assert str(project) not in text
    assert str(PROJECT) not in text
    assert os.path.expanduser("~") + "/" not in text
