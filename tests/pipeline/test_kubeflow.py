"""What the package for Kubeflow Pipelines 2 cannot do is said before anything is written."""

import pytest

import kubeflow_runner
from pipeline.configs import Settings, SettingsError


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "`storage_root` must be a bucket.*Received: '/mnt/imn'"),
        (
            {"storage_root": "gs://b/imn", "metadata": "mysql://u:p@h/d"},
            "`metadata` must be empty",
        ),
    ],
)
def test_kubeflow_2_has_no_volume_and_no_other_store(settings, says):
    with pytest.raises(SettingsError, match=says):
        kubeflow_runner._kubeflow_2(Settings(**settings))
