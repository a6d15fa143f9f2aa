"""The package for Kubeflow Pipelines 2, on a specification of four steps."""

import pytest

from pipeline.configs import Settings, SettingsError
from pipeline.kubeflow import step_2, version_2


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "`storage_root` must be a bucket.*Received: '/mnt/imn'"),
        (
            {"storage_root": "gs://b/imn", "metadata": "mysql://u:p@h/d"},
            "`metadata` must be empty",
        ),
    ],
)
def test_no_volume_and_no_other_store(settings, says):
    with pytest.raises(SettingsError, match=says):
        version_2.check(Settings(**settings))


def _task(step):
    return {"componentRef": {"name": step}, "cachingOptions": {"enableCache": True}}


@pytest.fixture
def specification():
    steps = ("Trainer", "AnomalyStop", "RatingsExampleGen", "Baseline")
    executors = {f"{step}_executor": {"container": {"image": "i"}} for step in steps}
    return {
        "components": {step: {"executorLabel": f"{step}_executor"} for step in steps},
        "deploymentSpec": {"executors": executors},
        "root": {"dag": {"tasks": {step: _task(step) for step in steps}}},
    }


def test_resources_and_retries_are_in_the_specification(specification):
    version_2.complete(Settings(step_cpu=4, step_memory=16, retries=3), specification)
    executors = specification["deploymentSpec"]["executors"]
    assert executors["Trainer_executor"]["container"]["resources"] == {
        "resourceCpuRequest": "2000m",
        "resourceCpuLimit": "4000m",
        "resourceMemoryRequest": "16384Mi",
        "resourceMemoryLimit": "16384Mi",
    }
    assert executors["Trainer_executor"]["container"]["command"][-1] == step_2.__name__
    assert executors["Baseline_executor"]["container"]["resources"]["resourceCpuLimit"] == "1000m"
    tasks = specification["root"]["dag"]["tasks"]
    retry = {"maxRetryCount": 3, "backoffDuration": "60s", "backoffFactor": 2.0}
    assert tasks["Trainer"]["retryPolicy"] == retry
    # There is no policy that tells a lost pod from an answer.
    assert "retryPolicy" not in tasks["AnomalyStop"]


def test_nodes_labels_and_time_limit_are_in_the_platform(specification):
    settings = Settings(node_selector="pool=training", pod_labels="team=search", time_limit=7200)
    platform = version_2.complete(settings, specification)
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(pods) == {
        "Trainer_executor",
        "AnomalyStop_executor",
        "RatingsExampleGen_executor",
        "Baseline_executor",
    }
    pod = pods["Trainer_executor"]
    assert pod["nodeSelector"] == {"labels": {"pool": "training"}}
    assert pod["podMetadata"]["labels"]["team"] == "search"
    assert pod["activeDeadlineSeconds"] == "7200"


def test_files_are_read_anew_in_each_run(specification):
    version_2.complete(Settings(), specification)
    tasks = specification["root"]["dag"]["tasks"]
    for step in ("RatingsExampleGen", "Baseline"):
        assert not tasks[step]["cachingOptions"]["enableCache"]
    assert tasks["Trainer"]["cachingOptions"]["enableCache"]
