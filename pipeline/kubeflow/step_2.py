"""The command of a step on Kubeflow Pipelines 2: TFX's own, into empty folders.

    python -m pipeline.kubeflow.step_2 --json_serialized_invocation_args ...

Kubeflow starts a pod again with the same arguments, and so with the same folders.
"""

import argparse
import json
import runpy

from tfx.dsl.io import fileio

from pipeline.kubeflow import leftovers

_TFX = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"


def make_empty_folders(invocation: str) -> None:
    """Makes the folders of the outputs; removes what an earlier pod left in them.

    Args:
      invocation: the executor's input that Kubeflow writes, as JSON.
    """
    outputs = json.loads(invocation).get("outputs", {})
    for each in outputs.get("artifacts", {}).values():
        for artifact in each["artifacts"]:
            leftovers.remove(artifact["uri"])
            fileio.makedirs(artifact["uri"])


def main() -> None:
    """Runs a step with the arguments of TFX's entry point."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    make_empty_folders(parser.parse_known_args()[0].json_serialized_invocation_args)
    runpy.run_module(_TFX, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
