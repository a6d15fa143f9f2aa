"""The package for Kubeflow Pipelines 1: an Argo workflow, by TFX 1.15's KubeflowDagRunner."""

from collections.abc import Callable
from typing import Any

from kfp import dsl, onprem
from kubernetes import client
from tfx import v1 as tfx
from tfx.orchestration.kubeflow import kubeflow_dag_runner

from pipeline import connections
from pipeline.configs import Settings
from pipeline.kubeflow import steps

_COMMAND = ["python", "-m", "pipeline.kubeflow.step_1"]
# The user of the image cannot write to /, which is the default.
_UI_METADATA = "/tmp/mlpipeline-ui-metadata.json"


def write(settings: Settings, pipeline: tfx.dsl.Pipeline) -> None:
    """Writes PIPELINE.tar.gz into the working directory, or where the `tfx` command wants it.

    Raises:
      SettingsError: for an address of the metadata store that cannot be read.
    """
    operators = [
        *kubeflow_dag_runner.get_default_pipeline_operator_funcs(),
        _for_step(settings),
        _for_run(settings),
    ]
    if not steps.is_bucket(settings.storage_root):
        operators.append(
            onprem.mount_pvc(settings.volume_claim, "imn-storage", steps.storage_root(settings))
        )
    if settings.metadata:
        operators.append(
            onprem.use_k8s_secret(
                settings.metadata_secret, {steps.PASSWORD_KEY: steps.PASSWORD_VARIABLE}
            )
        )
    config = kubeflow_dag_runner.KubeflowDagRunnerConfig(
        pipeline_operator_funcs=operators,
        tfx_image=settings.image,
        kubeflow_metadata_config=connections.kubeflow_metadata(settings, steps.PASSWORD_VARIABLE),
        metadata_ui_path=_UI_METADATA,
    )
    kubeflow_dag_runner.KubeflowDagRunner(config=config).run(pipeline)


def _for_step(settings: Settings) -> Callable[[dsl.ContainerOp], dsl.ContainerOp]:
    """What one step's pod gets."""

    def apply(operation: dsl.ContainerOp) -> dsl.ContainerOp:
        step = operation.name
        operation.command = _COMMAND
        needs = steps.resources(settings, step)
        container = operation.container
        container.set_cpu_request(needs.cpu_request).set_cpu_limit(needs.cpu_limit)
        container.set_memory_request(needs.memory).set_memory_limit(needs.memory)
        container.set_security_context(
            client.V1SecurityContext(
                allow_privilege_escalation=False,
                capabilities=client.V1Capabilities(drop=["ALL"]),
            )
        )
        for name, value in steps.labels(settings, step).items():
            operation.add_pod_label(name, value)
        if settings.retries:
            # No longest time: Argo counts it from the first start, so that a step which ran for
            # longer than that would never be retried. `OnError` is a pod that was lost.
            operation.set_retry(
                settings.retries,
                policy="OnError" if steps.fails_for_good(step) else "Always",
                backoff_duration=f"{steps.BACKOFF_SECONDS}s",
                backoff_factor=steps.BACKOFF_FACTOR,
            )
        return operation

    return apply


def _for_run(settings: Settings) -> Callable[[dsl.ContainerOp], dsl.ContainerOp]:
    """What the whole run gets, by the configuration that exists while kfp compiles."""

    def finish(workflow: dict[str, Any]) -> dict[str, Any]:
        workflow["spec"]["serviceAccountName"] = settings.service_account
        workflow["spec"]["securityContext"] = {
            "runAsNonRoot": True,
            "runAsUser": steps.USER,
            "runAsGroup": steps.USER,
            "fsGroup": steps.USER,  # so that this user can write on the volume
            "fsGroupChangePolicy": "OnRootMismatch",  # not file by file at each start
        }
        workflow["metadata"].setdefault("labels", {}).update(steps.labels(settings))
        return workflow

    def apply(operation: dsl.ContainerOp) -> dsl.ContainerOp:
        run = dsl.get_pipeline_conf()
        run.set_timeout(settings.time_limit)
        for name, value in steps.node_selector(settings).items():
            run.set_default_pod_node_selector(name, value)
        # Of kfp's hooks the only one that sees the workflow; it has none for these fields.
        run.data_passing_method = finish
        return operation

    return apply
