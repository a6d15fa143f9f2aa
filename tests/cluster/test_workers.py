"""Ingestion by Beam's job server and two worker pools, each a process: what Flink does with it."""

import multiprocessing.pool
import os
import sys
import time

import apache_beam as beam
import pytest

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.ingest import job
from pipeline.local import beam_check, sample_data
from tests.cluster import compare, processes
from tests.support import ingested

pytestmark = pytest.mark.cluster
SIZES = {"range_bytes": 128 << 10, "bucket_bytes": 128 << 10}  # 8 ranges, 8 buckets
SPLITS = ("Split-eval", "Split-test", "Split-train")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with processes.two_workers(tmp_path_factory.mktemp("cluster")) as (running, options):
        yield running, options


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Settings for generated ratings, and the digests of their Examples by the local runner."""
    folder = tmp_path_factory.mktemp("local")
    sample_data.write_ratings(str(folder / "ratings.csv"))
    settings = Settings(ratings=str(folder / "ratings.csv"), max_history_length=20)
    ingested.by_beam(settings, folder / "examples", **SIZES)
    return settings, compare.digests(folder / "examples")


def ingest(settings, options, folder):
    return job.ingest(settings, str(folder), beam.Pipeline(argv=options), **SIZES)


def test_a_stage_runs_on_both_workers(cluster, tmp_path):
    line = beam_check.probe(cluster[1], str(tmp_path), [])
    assert line.startswith(f"Beam {beam.__version__}: 2 workers")
    assert not list(tmp_path.iterdir())


def test_the_same_examples_as_in_one_process_even_after_a_lost_worker(cluster, local, tmp_path):
    running, options = cluster
    settings, expected = local
    with multiprocessing.pool.ThreadPool(1) as threads:
        waiting = threads.apply_async(ingest, (settings, options, tmp_path))
        end = time.monotonic() + 90
        # The first stage has written: five more follow.
        while not list(tmp_path.glob("spill/events-*")):
            assert time.monotonic() < end
            time.sleep(0.01)
        (worker,) = running.children("pool-2")
        worker.kill()
        with pytest.raises(RuntimeError, match="failed in state FAILED"):
            waiting.get(60)
    assert not [name for name in SPLITS if (tmp_path / name).exists()]
    assert not (tmp_path / "spill").exists()

    # The same folder, so that anything that was left would show.
    report = ingest(settings, options, tmp_path)
    assert len(report["cpu_seconds_of_workers"]) == 2
    assert compare.digests(tmp_path) == expected
    assert tuple(expected) == SPLITS


def test_workers_that_do_not_share_the_folder_are_named(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a relative path means another folder to the workers
    with pytest.raises(InputError, match=r"must share the folder of the run\. Of 16 files"):
        beam_check.probe(cluster[1], "runs", [])
    seen = tmp_path / "seen"
    seen.touch()
    with pytest.raises(InputError, match=r"must see the inputs\. .* has no 'seen'"):
        beam_check.probe(cluster[1], os.fspath(tmp_path), ["seen"])


def test_a_pool_that_is_not_there_is_named(tmp_path):
    port = processes.free_port()
    with processes.Processes(tmp_path / "logs") as other:
        pools, server = f"--pools=localhost:{port}", processes.free_port()
        command = [sys.executable, "-m", "tests.cluster.job_server", f"--port={server}", pools]
        other.start("server", command, server)
        options = processes.portable_options(server, port)
        with pytest.raises(InputError, match=f"It failed: .*{port}.* Connection refused"):
            beam_check.probe(options, str(tmp_path), [])
