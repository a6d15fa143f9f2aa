"""Ingestion by Beam's job server and two worker pools, each a process: what Flink does with it."""

import json
import multiprocessing.pool
import os
import signal
import socket
import subprocess
import sys
import time

import apache_beam as beam
import grpc
import psutil
import pytest
import tensorflow as tf
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.ingest import job
from pipeline.local import beam_check, sample_data
from tests.cluster import compare, processes
from tests.support import ingested
from transforms import features

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


def test_a_job_that_gets_no_worker_is_cancelled(tmp_path, monkeypatch):
    monkeypatch.setattr(beam_check, "_PROBE_SECONDS", 3)
    with (
        socket.create_server(("localhost", 0)) as silent,
        processes.Processes(tmp_path / "logs") as other,
    ):
        pool, server = silent.getsockname()[1], processes.free_port()
        module = [sys.executable, "-m", "tests.cluster.job_server"]
        command = [*module, f"--port={server}", f"--pools=localhost:{pool}"]
        other.start("server", command, server)
        with pytest.raises(InputError, match=r"within 3 s\. Its state is RUNNING"):
            beam_check.probe(processes.portable_options(server, pool), str(tmp_path), [])
        with grpc.insecure_channel(f"localhost:{server}") as channel:
            stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
            (job_info,) = stub.GetJobs(beam_job_api_pb2.GetJobsRequest()).job_info
        states = beam_job_api_pb2.JobState.Enum
        assert states.Name(job_info.state) in ("CANCELLING", "CANCELLED")


def test_sigterm_stops_the_whole_cluster():
    command = [sys.executable, "-m", "tests.cluster", "workers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as cluster:
        assert cluster.stdout.readline().startswith("IMN_BEAM_ARGS=")
        parts = psutil.Process(cluster.pid).children(recursive=True)
        assert len(parts) >= 3
        cluster.terminate()
        assert cluster.wait(60) == 128 + signal.SIGTERM
    _, alive = psutil.wait_procs(parts, timeout=10)
    assert not alive


@pytest.mark.parametrize(("distance", "close"), [(0.0, True), (9e-7, True), (2e-6, False)])
def test_runs_agree_if_their_metrics_do(tmp_path, distance, close):
    for name, auc in (("one", 0.5), ("two", 0.5 + distance)):
        write_run(tmp_path / name, auc)
    result = compare.compare(str(tmp_path / "one"), str(tmp_path / "two"))
    assert result["metrics"] is close
    assert all(result[name] for name in ("examples", "transformed", "vocabulary", "verdict"))


def write_run(output, auc):
    """The files that are compared, of a run with one Example."""
    example = tf.train.Example().SerializeToString()
    for component, key in (
        ("RatingsExampleGen", "examples"),
        ("Transform", "transformed_examples"),
    ):
        folder = output / "pipeline" / "imn" / component / key / "1" / "Split-test"
        folder.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(folder / "part.gz"), "GZIP") as writer:
            writer.write(example)
    assets = output / "pipeline/imn/Transform/transform_graph/1/transform_fn/assets"
    assets.mkdir(parents=True)
    (assets / features.ITEM_VOCABULARY).write_text("a")
    evaluation = output / "pipeline/imn/Evaluator/evaluation/1"
    evaluation.mkdir(parents=True)
    (evaluation / "metrics.json").write_text(json.dumps({"candidate": {"auc": auc}}))
    (evaluation / "verdict.json").write_text(json.dumps({"blessed": True}))


def test_a_folder_without_examples_is_no_agreement(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold splits"):
        compare.digests(tmp_path)


def test_a_pool_that_is_not_there_is_named(tmp_path):
    port = processes.free_port()
    with processes.Processes(tmp_path / "logs") as other:
        pools, server = f"--pools=localhost:{port}", processes.free_port()
        command = [sys.executable, "-m", "tests.cluster.job_server", f"--port={server}", pools]
        other.start("server", command, server)
        options = processes.portable_options(server, port)
        with pytest.raises(InputError, match=f"It failed: .*{port}.* Connection refused"):
            beam_check.probe(options, str(tmp_path), [])
