"""Reads an Argo workflow: its steps in order, and what each step's pod is.

What this reader does not know it refuses, so that nothing of a package is silently left out.
"""

import dataclasses
import pathlib
import re
import tarfile
from collections.abc import Mapping
from typing import Any

import yaml

_SPEC = {
    "activeDeadlineSeconds",
    "arguments",
    "entrypoint",
    "nodeSelector",
    "securityContext",
    "serviceAccountName",
    "templates",
}
_STEP = {"container", "inputs", "metadata", "name", "outputs", "retryStrategy", "volumes"}
_CONTAINER = {
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "resources",
    "securityContext",
    "volumeMounts",
}
_TASK = {"arguments", "dependencies", "name", "template"}
_PARAMETER = re.compile(r"{{inputs\.parameters\.([-\w]+)}}")
_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of the workflow with its parameters filled in.

    Attributes:
      name: of the task.
      template: Argo's template, as in the package.
      command: the command and its arguments.
      security: the security context of its pod.
    """

    name: str
    template: dict[str, Any]
    command: list[str]
    security: dict[str, int]

    @property
    def container(self) -> dict[str, Any]:
        """The container of the pod."""
        return self.template["container"]

    @property
    def retries(self) -> tuple[int, str]:
        """How often it may be repeated, and the policy that says after what."""
        strategy = self.template.get("retryStrategy", {})
        return int(strategy.get("limit", 0)), strategy.get("retryPolicy", "OnFailure")

    @property
    def memory_limit(self) -> int:
        """Bytes that the pod may take."""
        text = self.container["resources"]["limits"]["memory"]
        return int(text[:-2]) * _UNITS[text[-2:]]

    def waits(self) -> list[float]:
        """Seconds to wait before each repetition."""
        backoff = self.template.get("retryStrategy", {}).get("backoff", {})
        first = float(backoff.get("duration", "0s").removesuffix("s"))
        return [first * float(backoff.get("factor", 1)) ** n for n in range(self.retries[0])]

    def mounts(self, claims: Mapping[str, pathlib.Path]) -> dict[str, pathlib.Path]:
        """The folders of the claims, by the path that the container sees."""
        volumes = {
            volume["name"]: claims[volume["persistentVolumeClaim"]["claimName"]]
            for volume in self.template.get("volumes", [])
        }
        mounts = self.container.get("volumeMounts", [])
        return {mount["mountPath"]: volumes[mount["name"]] for mount in mounts}

    def environment(
        self, workflow: str, pod: str, secrets: Mapping[str, Mapping[str, str]]
    ) -> dict[str, str]:
        """The variables of the pod, as Kubernetes fills them in.

        Raises:
          KeyError: for a secret that is not there; the pod would not start.
        """
        labels = self.template["metadata"]["labels"] | {
            "workflows.argoproj.io/workflow": workflow,
            "pipeline/runid": workflow,
        }
        fields = {f"metadata.labels['{name}']": value for name, value in labels.items()}
        fields |= {"metadata.name": pod, "metadata.uid": pod, "metadata.namespace": "kubeflow"}
        for source in self.container.get("envFrom", []):
            if not source["configMapRef"].get("optional"):
                raise KeyError(source["configMapRef"]["name"])
        found = {}
        for variable in self.container.get("env", []):
            origin = variable.get("valueFrom", {})
            if "secretKeyRef" in origin:
                key = origin["secretKeyRef"]
                found[variable["name"]] = secrets[key["name"]][key["key"]]
            elif "fieldRef" in origin:
                found[variable["name"]] = fields[origin["fieldRef"]["fieldPath"]]
            else:
                found[variable["name"]] = variable["value"]
        return found


@dataclasses.dataclass(frozen=True)
class Workflow:
    """A package: the workflow as it is written, and its steps in an order that its DAG allows."""

    manifest: dict[str, Any]
    steps: list[Step]

    @property
    def spec(self) -> dict[str, Any]:
        """The specification of the workflow."""
        return self.manifest["spec"]


def read(path: str | pathlib.Path) -> Workflow:
    """Reads PIPELINE.tar.gz as KubeflowDagRunner writes it; raises as `parse` does."""
    with tarfile.open(path) as archive:
        member = archive.extractfile("pipeline.yaml")
        assert member is not None
        return parse(yaml.safe_load(member))


def parse(manifest: dict[str, Any]) -> Workflow:
    """The workflow of a manifest.

    Raises:
      ValueError: for a field that this reader does not know, or a circle of dependencies.
    """
    spec = manifest["spec"]
    _only(spec, _SPEC, "the workflow")
    templates = {template["name"]: template for template in spec["templates"]}
    entry = templates[spec["entrypoint"]]
    given = {each["name"]: each["value"] for each in spec["arguments"]["parameters"]}
    # Argo gives the workflow's arguments to the entry point.
    parameters = {each["name"]: given[each["name"]] for each in entry["inputs"]["parameters"]}
    tasks = {task["name"]: task for task in entry["dag"]["tasks"]}
    steps: list[Step] = []
    while len(steps) < len(tasks):
        done = {step.name for step in steps}
        ready = [
            task
            for name, task in tasks.items()
            if name not in done and done.issuperset(task.get("dependencies", []))
        ]
        if not ready:
            raise ValueError(f"These steps wait for each other: {sorted(tasks.keys() - done)}.")
        steps += [_step(task, templates, parameters, spec) for task in ready]
    return Workflow(manifest, steps)


def _step(
    task: dict[str, Any],
    templates: Mapping[str, dict[str, Any]],
    parameters: Mapping[str, str],
    spec: Mapping[str, Any],
) -> Step:
    template = templates[task["template"]]
    _only(task, _TASK, f"task {task['name']}")
    _only(template, _STEP, f"template {template['name']}")
    _only(template["container"], _CONTAINER, f"the container of {template['name']}")
    arguments = task.get("arguments", {}).get("parameters", [])
    inputs = {each["name"]: _filled(each["value"], parameters) for each in arguments}
    container = template["container"]
    command = [_filled(part, inputs) for part in container["command"] + container["args"]]
    return Step(task["name"], template, command, spec["securityContext"])


def _filled(text: str, inputs: Mapping[str, str]) -> str:
    return _PARAMETER.sub(lambda match: inputs[match[1]], text)


def _only(found: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := found.keys() - known:
        raise ValueError(f"Fields of {where} that this reader does not know: {sorted(unknown)}.")
