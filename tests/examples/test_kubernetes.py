"""The manifest of two workers: fields that Kubernetes knows, and names that fit each other."""

import dataclasses
import pathlib
import re

import pytest
import yaml
from kubernetes import client

from model.training import cluster
from model.training.workers import ARGUMENTS
from pipeline.configs import PREFIX, Settings

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = ROOT / "examples" / "kubernetes" / "two_workers.yaml"
KINDS = {"Service": "V1Service", "Job": "V1Job", "StatefulSet": "V1StatefulSet"}
SCALARS = {"str": str, "int": int, "bool": bool, "object": object}


def misfits(value, kind, path=""):
    """What in a part of a manifest is no value of a type of Kubernetes' client."""
    several = re.fullmatch(r"list\[(.+)\]", kind)
    by_name = re.fullmatch(r"dict[(\[]str, (.+)[)\]]", kind)
    if several:
        parts = enumerate(value) if isinstance(value, list) else [("", None)]
        return [each for at, part in parts for each in misfits(part, several[1], f"{path}[{at}]")]
    if by_name:
        return [
            each for at, part in value.items() for each in misfits(part, by_name[1], f"{path}.{at}")
        ]
    if kind in SCALARS:
        return [] if isinstance(value, SCALARS[kind]) else [f"{path}: {value!r} is no {kind}"]
    model = getattr(client, kind)
    names = {inside: name for name, inside in model.attribute_map.items()}
    return [
        each
        for name, part in value.items()
        for each in (
            misfits(part, model.openapi_types[names[name]], f"{path}.{name}")
            if name in names
            else [f"{path}.{name}: no field of {kind}"]
        )
    ]


@pytest.fixture(scope="module")
def manifest():
    return {each["kind"]: each for each in yaml.safe_load_all(FILE.read_text("utf-8"))}


@pytest.fixture(scope="module")
def containers(manifest):
    """The container of the Trainer, and that of the other workers."""
    return [
        manifest[kind]["spec"]["template"]["spec"]["containers"][0]
        for kind in ("Job", "StatefulSet")
    ]


def environment(container, **fields):
    """The environment of a container, in which $(NAME) stands for a field of its pod."""
    values = {}
    for entry in container["env"]:
        text = entry.get("value", fields.get(entry["name"]))
        values[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], text)
    return values


def test_every_field_is_one_of_kubernetes_with_a_value_of_its_type(manifest):
    assert set(manifest) == set(KINDS)
    for kind, value in manifest.items():
        assert misfits(value, KINDS[kind], kind) == []


def test_a_misspelt_field_and_a_wrong_type_are_found(manifest):
    wrong = {"spec": {"replica": 1, "replicas": "1"}}
    assert misfits(wrong, "V1StatefulSet") == [
        ".spec.replica: no field of V1StatefulSetSpec",
        ".spec.replicas: '1' is no int",
    ]


def test_each_pod_has_its_place_under_the_name_that_the_service_gives_it(manifest, containers):
    service, job, workers = (manifest[kind] for kind in KINDS)
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    pod = job["spec"]["template"]["spec"]
    replicas = workers["spec"]["replicas"]
    of_workers = [f"{workers['metadata']['name']}-{index}" for index in range(replicas)]
    expected = tuple(f"{host}.{name}:{port}" for host in (pod["hostname"], *of_workers))

    assert pod["subdomain"] == workers["spec"]["serviceName"] == name
    assert cluster.read(environment(containers[0])) == (expected, 0)
    for index in range(replicas):
        found = cluster.read(environment(containers[1], INDEX=str(index)))
        assert found == (expected, index + 1)
    for each in (job, workers):
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
    assert workers["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["clusterIP"] == "None"


def test_the_trainer_runs_and_the_workers_wait_for_its_arguments(containers):
    trainer, worker = containers
    settings = Settings.from_environment(environment(trainer))
    assert (settings.distribute, settings.workers) == ("multi_worker", 0)
    assert {name for name in environment(trainer) if name.startswith(PREFIX)} <= {
        f"{PREFIX}{field.name.upper()}" for field in dataclasses.fields(Settings)
    }
    assert worker["command"][-1] == f"{settings.output}/checkpoints/{ARGUMENTS}"
    assert trainer["volumeMounts"] == worker["volumeMounts"]
    assert settings.output.startswith(trainer["volumeMounts"][0]["mountPath"])
    assert worker["command"][1:3] == ["-m", "model.worker"]
    copied = (ROOT / "Dockerfile").read_text("utf-8")
    for path in (trainer["command"][1], "model", "pipeline"):
        assert re.search(rf"^COPY .*\b{re.escape(path)}\b", copied, re.MULTILINE)
