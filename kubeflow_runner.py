"""Compiles the pipeline for Kubeflow, with paths on the cluster.

    tfx pipeline compile --engine=kubeflow --pipeline_path=kubeflow_runner.py

writes `imn.tar.gz` with TFX 1.15 (Kubeflow Pipelines 1, Argo). TFX 1.16 and
later have no Kubeflow engine on their command line; there

    python kubeflow_runner.py

writes `imn.yaml` (Kubeflow Pipelines 2), which the kfp client submits. Image,
storage root, volume claim and metadata store are settings (pipeline/configs.py);
no path of this machine is in the package.
"""

import dataclasses
import os
import posixpath
import sys

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from pipeline.configs import Settings, SettingsError, serving_name

# Where the image holds the project (Dockerfile).
_CODE = "/imn"


def check_paths(settings: Settings) -> None:
    """Checks that the cluster's steps can reach the storage root and the ratings.

    Raises:
      SettingsError: for a relative storage root, or for ratings outside buckets and that root.
    """
    root = settings.storage_root.rstrip("/")
    if not ("://" in root or posixpath.isabs(root)):
        raise SettingsError(
            "`storage_root` must be a bucket, such as gs://NAME/imn, or an absolute path in the "
            f"containers, such as /mnt/imn. Received: {settings.storage_root!r}."
        )
    for name, path in (("ratings", settings.ratings), ("items", settings.items)):
        if path and "://" not in path and not posixpath.normpath(path).startswith(f"{root}/"):
            raise SettingsError(
                f"`{name}` must lie in a bucket or below `storage_root`, because Kubeflow's steps "
                f"do not see files of this machine. Received: {path!r}. Copy them to {root}/{name}"
                + (" and leave IMN_RATINGS empty." if name == "ratings" else ".")
            )


def check_workers(settings: Settings) -> None:
    """Checks that the Trainer's step can find the workers of its training.

    Raises:
      SettingsError: for workers in other pods, because a step has no address that they know.
    """
    if settings.distribute == "multi_worker" and not settings.workers:
        raise SettingsError(
            "`workers` must be above 0 where `distribute` is multi_worker, because a step of "
            "Kubeflow has no address that other pods know. Received: 0. Set IMN_WORKERS=2, which "
            "starts both in the step's pod, or use examples/kubernetes/two_workers.yaml."
        )


def _pipeline(settings: Settings, kubeflow_2: bool):
    from pipeline import connections, pipeline

    root = settings.storage_root.rstrip("/")
    ratings = settings.ratings or posixpath.join(root, "ratings", "*")
    return pipeline.create_pipeline(
        dataclasses.replace(settings, ratings=ratings),
        pipeline_root=posixpath.join(root, "pipeline", pipeline.pipeline_name(settings)),
        serving_dir=posixpath.join(root, "serving_model", serving_name(settings)),
        checkpoint_root=posixpath.join(root, "checkpoints"),
        beam_pipeline_args=connections.beam_args(settings, _CODE),
        only_stock_resolvers=kubeflow_2,
    )


def _kubeflow_1(settings: Settings) -> None:
    from kfp import onprem
    from tfx.orchestration.kubeflow import kubeflow_dag_runner

    from pipeline import connections

    steps = kubeflow_dag_runner.get_default_pipeline_operator_funcs()
    if "://" not in settings.storage_root:
        steps.append(onprem.mount_pvc(settings.volume_claim, "imn-storage", settings.storage_root))
    config = kubeflow_dag_runner.KubeflowDagRunnerConfig(
        pipeline_operator_funcs=steps,
        tfx_image=settings.image,
        kubeflow_metadata_config=connections.kubeflow_metadata(settings),
    )
    kubeflow_dag_runner.KubeflowDagRunner(config=config).run(_pipeline(settings, kubeflow_2=False))


def _kubeflow_2(settings: Settings) -> None:
    if "://" not in settings.storage_root:
        raise SettingsError(
            "`storage_root` must be a bucket, such as gs://NAME/imn: this TFX compiles for "
            "Kubeflow Pipelines 2, where no volume is mounted. "
            f"Received: {settings.storage_root!r}."
        )
    if settings.metadata:
        raise SettingsError(
            "`metadata` must be empty: Kubeflow Pipelines 2 has a store of its own."
        )
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

    from pipeline import pipeline

    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(default_image=settings.image)
    file = f"{pipeline.pipeline_name(settings)}.yaml"
    kubeflow_v2_dag_runner.KubeflowV2DagRunner(config=config, output_filename=file).run(
        _pipeline(settings, kubeflow_2=True)
    )


def main() -> int:
    """Writes the package into the working directory. Returns the exit status."""
    try:
        settings = Settings.from_environment(os.environ)
        check_paths(settings)
        check_workers(settings)
        try:
            import tfx.orchestration.kubeflow.kubeflow_dag_runner  # noqa: F401
        except ImportError:
            _kubeflow_2(settings)
        else:
            _kubeflow_1(settings)
    except SettingsError as error:
        sys.stderr.write(f"Input: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
