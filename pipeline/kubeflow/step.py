"""The command of a step on Kubeflow Pipelines 1: TFX's own, into empty folders.

    python -m pipeline.kubeflow.step --node_id Trainer ...

A pod that is killed cannot clean up, and TFX gives a retry of the same run the execution of that
pod, and so its folders with whatever it had written: temporary folders of Beam, shards of a job
that was half done. A reader of all files of a folder would take them for data.
"""

import sys
from collections.abc import Mapping, Sequence

from absl import logging
from tfx import types
from tfx.dsl.io import fileio
from tfx.orchestration.kubeflow import container_entrypoint
from tfx.orchestration.portable import outputs_utils

_make_folders = outputs_utils.make_output_dirs


def make_empty_folders(outputs: Mapping[str, Sequence[types.Artifact]]) -> None:
    """Makes the folders of the artifacts; removes what an earlier pod left in them."""
    for artifacts in outputs.values():
        for artifact in artifacts:
            if not artifact.is_external and fileio.exists(artifact.uri):
                logging.warning("%s is of a pod that was killed; removed.", artifact.uri)
                outputs_utils.remove_output_dirs({"": [artifact]})
    _make_folders(outputs)


def main(arguments: list[str]) -> None:
    """Runs a step with the arguments of TFX's entry point."""
    # TFX's launcher calls it by this name, after its look into the cache and before the executor.
    outputs_utils.make_output_dirs = make_empty_folders
    container_entrypoint.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
