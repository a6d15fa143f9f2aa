import re

import pytest

from pipeline.configs import Settings, SettingsError
from pipeline.kubeflow import steps
from tests.support.commands import PROJECT


def test_a_large_step_gets_the_settings_and_a_small_one_less():
    settings = Settings(step_cpu=3, step_memory=12.5)
    large = steps.Resources(cpu_request="1500m", cpu_limit="3000m", memory="12800Mi")
    assert steps.resources(settings, "trainer") == large
    assert steps.resources(settings, "Trainer") == large  # Kubeflow Pipelines 2
    assert steps.resources(settings, "historyschema") == steps.Resources("500m", "1000m", "2048Mi")


def test_a_small_step_gets_no_more_than_a_large_one():
    settings = Settings(step_cpu=0.5, step_memory=1.0)
    assert steps.resources(settings, "baseline") == steps.resources(settings, "trainer")


def test_labels_of_the_settings_and_those_of_kubernetes():
    settings = Settings(pod_labels=" team=search, example.org/cost=a_1.b,empty=")
    assert steps.labels(settings, "Trainer") == {
        "team": "search",
        "example.org/cost": "a_1.b",
        "empty": "",
        "app.kubernetes.io/name": "imn",
        "app.kubernetes.io/component": "trainer",
    }
    assert "app.kubernetes.io/component" not in steps.labels(settings)


@pytest.mark.parametrize("text", ["pool", "pool=a b", "=a", "-pool=a", "pool=a-", "a" * 64 + "=b"])
@pytest.mark.parametrize("setting", ["node_selector", "pod_labels"])
def test_a_label_that_kubernetes_refuses_is_named(setting, text):
    message = f"`{setting}` must be labels of Kubernetes.*Received: '{re.escape(text)}'"
    with pytest.raises(SettingsError, match=message):
        steps.check_labels(Settings(**{setting: f"good=1,{text}"}))


def test_the_image_has_the_user_that_the_package_asks_for():
    dockerfile = (PROJECT / "Dockerfile").read_text()
    assert f"USER {steps.USER}:{steps.USER}\n" in dockerfile
    assert f"useradd --uid {steps.USER} " in dockerfile


def test_the_image_has_the_version_of_the_project():
    (version,) = re.findall(r'^version = "(.+)"$', (PROJECT / "pyproject.toml").read_text(), re.M)
    assert f"ARG VERSION={version}\n" in (PROJECT / "Dockerfile").read_text()
