"""The package for Kubeflow Pipelines 2: a pipeline specification, by TFX's KubeflowV2DagRunner.

TFX writes neither resources nor retries. They are added to what it wrote, and what the
specification has no field for (nodes, labels, a time limit) follows as a second document, the
configuration of the platform `kubernetes`.
"""

import pathlib
from typing import Any

import yaml
from tfx import v1 as tfx
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

from pipeline.configs import Settings, SettingsError
from pipeline.kubeflow import steps

_COMMAND = ["python", "-m", "pipeline.kubeflow.step_2"]
# Their inputs are files, which Kubeflow's own cache does not look into: without this, a changed
# folder of ratings would be answered with the Examples of the old one, and the next model would be
# compared with the one before the served one.
_READS_FILES = ("RatingsExampleGen", "ItemTable", "Baseline")


def check(settings: Settings) -> None:
    """Checks that the settings ask for nothing that Kubeflow Pipelines 2 does not have.

    Raises:
      SettingsError: for a folder as storage root, or another metadata store.
    """
    if not steps.is_bucket(settings.storage_root):
        raise SettingsError(
            "`storage_root` must be a bucket, such as gs://NAME/imn: this TFX compiles for "
            "Kubeflow Pipelines 2, where no volume is mounted. "
            f"Received: {settings.storage_root!r}."
        )
    if settings.metadata:
        raise SettingsError(
            "`metadata` must be empty: Kubeflow Pipelines 2 has a store of its own."
        )


def write(settings: Settings, pipeline: tfx.dsl.Pipeline) -> None:
    """Writes PIPELINE.yaml into the working directory."""
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        default_image=settings.image,
        use_pipeline_spec_2_1=True,  # Kubeflow's driver does not read the parameters of 2.0
    )
    file = pathlib.Path(f"{pipeline.pipeline_info.pipeline_name}.yaml")
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(config=config, output_filename=str(file))
    runner.run(pipeline)
    written = file.read_text(encoding="utf-8")
    head = "".join(line for line in written.splitlines(True) if line.startswith("#"))
    specification = yaml.safe_load(written)
    platform = complete(settings, specification)
    documents = yaml.safe_dump_all([specification, platform], sort_keys=True)
    file.write_text(head + documents, encoding="utf-8")


def complete(settings: Settings, specification: dict[str, Any]) -> dict[str, Any]:
    """Adds commands, resources, retries and what is not cached to a specification, in place.

    Returns:
      the configuration of the platform: node selector, labels and time limit of each step.
    """
    tasks = specification["root"]["dag"]["tasks"]
    executors = specification["deploymentSpec"]["executors"]
    nodes = steps.node_selector(settings)
    pods: dict[str, Any] = {}
    for step, task in tasks.items():
        name = specification["components"][task["componentRef"]["name"]]["executorLabel"]
        needs = steps.resources(settings, step)
        executors[name]["container"]["command"] = _COMMAND
        executors[name]["container"]["resources"] = {
            "resourceCpuRequest": needs.cpu_request,
            "resourceCpuLimit": needs.cpu_limit,
            "resourceMemoryRequest": needs.memory,
            "resourceMemoryLimit": needs.memory,
        }
        if step in _READS_FILES:
            task["cachingOptions"] = {"enableCache": False}
        if settings.retries and not steps.fails_for_good(step):
            task["retryPolicy"] = {
                "maxRetryCount": settings.retries,
                "backoffDuration": f"{steps.BACKOFF_SECONDS}s",
                "backoffFactor": float(steps.BACKOFF_FACTOR),
            }
        pods[name] = {
            "podMetadata": {"labels": steps.labels(settings, step)},
            "activeDeadlineSeconds": str(settings.time_limit),
        }
        if nodes:
            pods[name]["nodeSelector"] = {"labels": dict(nodes)}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": pods}}}}
