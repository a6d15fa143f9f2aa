"""Runs the containers of a package for Kubeflow Pipelines 2 by their own commands, as processes.

    python -m tests.cluster.kubeflow.specification imn.yaml FOLDER gs://BUCKET/imn

FOLDER takes the place of the bucket. It does what Kubeflow's driver does for a container: it
writes the executor's input (parameters, artifacts, the file for its output) in place of `{{$}}`,
and hands the output's artifacts on.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time
from typing import Any

import yaml


def run(package: str, folder: str, bucket: str) -> dict[str, float]:
    """Runs all tasks. Returns the seconds of each container.

    Raises:
      subprocess.CalledProcessError: if a container fails.
    """
    text = pathlib.Path(package).read_text().replace(bucket, folder)
    specification = next(iter(yaml.safe_load_all(text)))
    waiting = dict(specification["root"]["dag"]["tasks"])
    outputs: dict[str, dict[str, Any]] = {}
    seconds = {}
    while waiting:
        name = next(n for n, task in waiting.items() if outputs.keys() >= _before(task))
        task = waiting.pop(name)
        component = specification["components"][task["componentRef"]["name"]]
        executor = specification["deploymentSpec"]["executors"][component["executorLabel"]]
        started = time.monotonic()
        outputs[name] = _container(name, task, component, executor["container"], outputs, folder)
        seconds[name] = time.monotonic() - started
        print(f"{name:20} {seconds[name]:6.1f} s", flush=True)  # noqa: T201
    return seconds


def _before(task: dict[str, Any]) -> set[str]:
    artifacts = task.get("inputs", {}).get("artifacts", {}).values()
    producers = {each["taskOutputArtifact"]["producerTask"] for each in artifacts}
    return producers | set(task.get("dependentTasks", []))


def _container(
    name: str,
    task: dict[str, Any],
    component: dict[str, Any],
    container: dict[str, Any],
    outputs: dict[str, dict[str, Any]],
    folder: str,
) -> dict[str, Any]:
    own = pathlib.Path(folder, "pipeline", name)
    shutil.rmtree(own, ignore_errors=True)
    inputs = task.get("inputs", {})
    sources = {key: each["taskOutputArtifact"] for key, each in inputs.get("artifacts", {}).items()}
    made = component.get("outputDefinitions", {}).get("artifacts", {})
    own.mkdir(parents=True)
    executor_input = {
        "inputs": {
            "parameterValues": {
                key: each["runtimeValue"]["constant"]
                for key, each in inputs.get("parameters", {}).items()
            },
            "artifacts": {
                key: outputs[source["producerTask"]][source["outputArtifactKey"]]
                for key, source in sources.items()
            },
        },
        "outputs": {
            "artifacts": {
                key: {
                    "artifacts": [
                        {"name": f"{name}-{key}", "uri": str(own / key)}
                        | {"type": definition["artifactType"]}
                    ]
                }
                for key, definition in made.items()
            },
            "outputFile": str(own / "executor_output.json"),
        },
    }
    arguments = [json.dumps(executor_input) if a == "{{$}}" else a for a in container["args"]]
    command = [sys.executable, *container["command"][1:], *arguments]
    with (own / "log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    written = json.loads((own / "executor_output.json").read_text()).get("artifacts", {})
    # The executor leaves the type out, which the driver knows.
    declared = executor_input["outputs"]["artifacts"]
    return {
        key: {
            "artifacts": [
                known["artifacts"][0] | artifact
                for artifact in written.get(key, known).get("artifacts", [])
            ]
        }
        for key, known in declared.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("package")
    parser.add_argument("folder")
    parser.add_argument("bucket")
    run(**vars(parser.parse_args()))
