"""The command of a step on Kubeflow Pipelines 1: TFX's own, into empty folders.

    python -m pipeline.kubeflow.step_1 --node_id Trainer ...

TFX gives a retry of the same run the execution of the pod that was killed, and so its folders.
"""

import sys
from collections.abc import Mapping, Sequence

from tfx import types
from tfx.orchestration.kubeflow import container_entrypoint
from tfx.orchestration.portable import outputs_utils

from pipeline.kubeflow import leftovers

_make_folders = outputs_utils.make_output_dirs


def make_empty_folders(outputs: Mapping[str, Sequence[types.Artifact]]) -> None:
    """Makes the folders of the artifacts; removes what an earlier pod left in them."""
    for artifacts in outputs.values():
        for artifact in artifacts:
            if not artifact.is_external:
                leftovers.remove(artifact.uri)
    _make_folders(outputs)


def main(arguments: list[str]) -> None:
    """Runs a step with the arguments of TFX's entry point."""
    # TFX's launcher calls it by this name, after its look into the cache and before the executor.
    outputs_utils.make_output_dirs = make_empty_folders
    container_entrypoint.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
