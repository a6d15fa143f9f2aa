"""Every step of the package by its own command line, against a MariaDB and one folder: four runs.

On the environment as processes, and in the image. `KUBEFLOW_IMAGE` names an image that buildah has
already; without it the image is built.
"""

import os
import shutil
import time

import ml_metadata
import pytest
from ml_metadata.proto import metadata_store_pb2

from pipeline.local import sample_data
from tests.cluster.kubeflow import containers, image, run, store
from tests.cluster.kubeflow.workplace import workplace
from tests.support import commands

pytest.importorskip(
    "tfx.orchestration.kubeflow.kubeflow_dag_runner",
    reason="this TFX compiles for Kubeflow Pipelines 2",
    exc_type=ImportError,
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    pytest.mark.skipif(not store.SERVER, reason="needs mariadbd"),
]
IMAGE = os.environ.get("KUBEFLOW_IMAGE", "")
LACKING = "" if IMAGE and shutil.which("buildah") else image.missing()
SETTINGS = {k: v for k, v in commands.SETTINGS.items() if k not in ("IMN_OUTPUT", "IMN_RATINGS")}
STEPS = {
    "AnomalyStop",
    "Baseline",
    "Evaluator",
    "ExampleValidator",
    "HistorySchema",
    "InfraCheck",
    "Pusher",
    "RatingsExampleGen",
    "StatisticsGen",
    "Trainer",
    "Transform",
}
# Types of executions that are not named as their node.
NODES = {
    "CheckedTransform": "Transform",
    "GatedEvaluator": "Evaluator",
    "Resolver": "Baseline",
    "SampledStatisticsGen": "StatisticsGen",
}
# What the trainer writes while it trains.
CURVES = "pipeline/imn/Trainer/model_run/*/logs/**/events*"


@pytest.fixture(
    params=[
        "environment",
        pytest.param("image", marks=pytest.mark.skipif(bool(LACKING), reason=f"needs {LACKING}")),
    ]
)
def place(request, tmp_path):
    name = ""
    if request.param == "image":
        name = IMAGE or "localhost/imn:test"
        if not IMAGE:
            image.build_base()
            image.build(name)
    with workplace(tmp_path / "place", name) as place:
        yield place
    if name and not IMAGE:
        containers.remove(name, image.BASE)


@pytest.fixture
def days(tmp_path):
    """The rows of generated ratings until a day, and those after it."""
    whole = tmp_path / "ratings.csv"
    sample_data.write_ratings(str(whole), users=250, items=600)
    rows = whole.read_text().splitlines(keepends=True)
    times = sorted(int(row.rpartition(",")[2]) for row in rows)
    day = times[len(times) * 9 // 10]
    return [
        "".join(row for row in rows if (int(row.rpartition(",")[2]) < day) is past)
        for past in (True, False)
    ]


def states(place):
    """The state of each step's newest execution in the newest run."""
    config = metadata_store_pb2.ConnectionConfig(mysql=place.store)
    metadata = ml_metadata.MetadataStore(config)
    newest = max(metadata.get_contexts_by_type("pipeline_run"), key=lambda context: context.id)
    kinds = {kind.id: kind.name for kind in metadata.get_execution_types()}
    executions = metadata.get_executions_by_context(newest.id)
    found = {}
    for execution in sorted(executions, key=lambda each: each.id):
        state = metadata_store_pb2.Execution.State.Name(execution.last_known_state)
        kind = kinds[execution.type_id].rpartition(".")[2]
        found[NODES.get(kind, kind)] = state
    return found


def versions(place):
    return sorted(os.listdir(place.storage / "serving_model" / "imn"))


def killer(place):
    """Kills pods while they work: the first one of the trainer, all of the evaluator."""
    before = set(place.storage.glob(CURVES))

    def works(step, attempt):
        if step == "trainer":
            return set(place.storage.glob(CURVES)) != before
        (log,) = place.cluster.logs.glob(f"{place.cluster.newest}-{step}-{attempt}.log")
        return "Going to run a new execution: " in log.read_text()

    def on_start(step, attempt, pid):
        if step == "evaluator" or (step == "trainer" and attempt == 0):
            while not works(step, attempt):
                time.sleep(0.1)
            run.kill(pid)

    return on_start


def test_four_runs(place, days):
    ratings = place.storage / "ratings"
    ratings.mkdir()
    (ratings / "day-1.csv").write_text(days[0])
    workflow = place.compiled(**SETTINGS)
    place.cluster.say = lambda line: print(f"  {line}", flush=True)  # noqa: T201
    place.cluster.patience = 0.0
    assert {step.name for step in workflow.steps} == {name.lower() for name in STEPS}

    def timed(what):
        started = time.monotonic()
        try:
            return place.cluster.run(workflow)
        finally:
            print(f"{what}: {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201

    attempts = timed("first run")
    assert [attempt.status for attempt in attempts] == [0] * len(STEPS)
    assert len(versions(place)) == 1
    assert states(place) == dict.fromkeys(STEPS, "COMPLETE")

    timed("the same again")
    assert len(versions(place)) == 1
    cached = dict.fromkeys(STEPS, "CACHED")
    assert states(place) == cached | {"Baseline": "COMPLETE"}

    # Another day. The trainer's pod is killed once and repeated, the evaluator's for good.
    (ratings / "day-2.csv").write_text(days[1])
    place.cluster.on_start = killer(place)
    with pytest.raises(run.Failed, match="evaluator ended") as error:
        timed("next day, killed")
    statuses = [attempt.status for attempt in error.value.attempts if attempt.step == "trainer"]
    assert len(statuses) == 2
    assert statuses[0] != 0
    assert statuses[1] == 0
    assert len(versions(place)) == 1

    place.cluster.on_start = None
    timed("again")
    complete = dict.fromkeys(("Baseline", "Evaluator", "Pusher"), "COMPLETE")
    assert states(place) == cached | complete
    assert len(versions(place)) == 2
