"""Compiles the pipeline for Kubeflow, with paths on the cluster.

    tfx pipeline compile --engine=kubeflow --pipeline_path=kubeflow_runner.py

writes `imn.tar.gz` with TFX 1.15 (Kubeflow Pipelines 1, Argo). TFX 1.16 and
later have no Kubeflow engine on their command line; there

    python kubeflow_runner.py

writes `imn.yaml` (Kubeflow Pipelines 2), which the kfp client submits. What the
cluster gives (image, volume, resources, ...) are settings: `Kubeflow` in
pipeline/configs.py. No path of this machine is in the package (docs/kubeflow.md).
"""

import dataclasses
import os
import posixpath
import sys

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from pipeline.configs import Settings, SettingsError, serving_name
from pipeline.kubeflow import steps

# Where the image holds the project (Dockerfile).
_CODE = "/imn"


def check_paths(settings: Settings) -> None:
    """Checks that the cluster's steps can reach the storage root and the ratings.

    Raises:
      SettingsError: for a relative storage root, or for ratings outside buckets and that root.
    """
    root = steps.storage_root(settings)
    if not (steps.is_bucket(root) or posixpath.isabs(root)):
        raise SettingsError(
            "`storage_root` must be a bucket, such as gs://NAME/imn, or an absolute path in the "
            f"containers, such as /mnt/imn. Received: {settings.storage_root!r}."
        )
    for name, path in (("ratings", settings.ratings), ("items", settings.items)):
        if not path or steps.is_bucket(path):
            continue
        if not posixpath.normpath(path).startswith(f"{root}/"):
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

    root = steps.storage_root(settings)
    ratings = settings.ratings or posixpath.join(root, "ratings", "*")
    return pipeline.create_pipeline(
        dataclasses.replace(settings, ratings=ratings),
        pipeline_root=posixpath.join(root, "pipeline", pipeline.pipeline_name(settings)),
        serving_dir=posixpath.join(root, "serving_model", serving_name(settings)),
        checkpoint_root=posixpath.join(root, "checkpoints", pipeline.pipeline_name(settings)),
        beam_pipeline_args=connections.beam_args(settings, _CODE),
        runs_resolvers=not kubeflow_2,
    )


def write(settings: Settings) -> None:
    """Writes the package of the installed TFX's Kubeflow into the working directory.

    Raises:
      SettingsError: for what this Kubeflow does not have.
    """
    try:
        import tfx.orchestration.kubeflow.kubeflow_dag_runner  # noqa: F401
    except ImportError:
        from pipeline.kubeflow import version_2

        version_2.check(settings)
        version_2.write(settings, _pipeline(settings, kubeflow_2=True))
    else:
        from pipeline.kubeflow import version_1

        version_1.write(settings, _pipeline(settings, kubeflow_2=False))


def main() -> int:
    """Writes the package into the working directory. Returns the exit status."""
    try:
        settings = Settings.from_environment(os.environ)
        check_paths(settings)
        check_workers(settings)
        steps.check_labels(settings)
        write(settings)
    except SettingsError as error:
        sys.stderr.write(f"Input: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
