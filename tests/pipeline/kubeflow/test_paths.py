"""Paths that a cluster's steps cannot reach are refused before anything is written."""

import pytest

import kubeflow_runner
from pipeline.configs import Settings, SettingsError


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"storage_root": "imn"}, "`storage_root` must be a bucket.*Received: 'imn'"),
        ({"ratings": "ratings.csv"}, "`ratings` must lie in a bucket.*Received: 'ratings.csv'"),
        ({"ratings": "/home/me/a.csv"}, "`ratings` must lie.*/mnt/imn/ratings"),
        ({"ratings": "/mnt/imn/../a.csv"}, "`ratings` must lie"),
        ({"items": "items.jsonl"}, "`items` must lie in a bucket.*Received: 'items.jsonl'"),
    ],
)
def test_paths_that_the_cluster_cannot_reach_are_refused(settings, says):
    with pytest.raises(SettingsError, match=says):
        kubeflow_runner.check_paths(Settings(**settings))


@pytest.mark.parametrize(
    "settings",
    [{}, {"ratings": "/mnt/imn/ratings/*.csv"}, {"ratings": "s3://b/r.csv", "storage_root": "/x"}],
)
def test_buckets_and_the_storage_root_are_reached(settings):
    kubeflow_runner.check_paths(Settings(**settings))


def test_workers_in_other_pods_are_refused():
    with pytest.raises(SettingsError, match=r"`workers` must be above 0.*two_workers\.yaml"):
        kubeflow_runner.check_workers(Settings(distribute="multi_worker"))
    kubeflow_runner.check_workers(Settings(distribute="multi_worker", workers=2))
    kubeflow_runner.check_workers(Settings(distribute="mirrored"))
