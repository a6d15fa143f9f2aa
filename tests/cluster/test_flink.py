"""A Flink session cluster: what a run says of its version, and ingestion on two TaskManagers."""

import shutil

import apache_beam as beam
import pytest

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.ingest import job
from pipeline.local import beam_check, sample_data
from tests.cluster import compare, flink, processes
from tests.support import ingested

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        not (shutil.which("java") and shutil.which("mvn")), reason="needs Java and Maven"
    ),
]


def test_a_flink_of_another_version_is_named_at_once(tmp_path):
    try:
        flink.fetch_flink()
    except flink.NotServed as error:
        pytest.skip(f"Maven does not get Flink: {error}")
    minor = flink.FLINK.rpartition(".")[0]
    with processes.Processes(tmp_path / "logs") as running:
        master = flink.start_flink(running, tmp_path / "flink")
        assert len(flink.task_managers(master)) == flink.TASK_MANAGERS
        options = ["--runner=FlinkRunner", f"--flink_master={master}"]
        beam_check.addresses([*options, f"--flink_version={minor}"])
        with pytest.raises(InputError, match=f"for Flink 1.19, and Flink {flink.FLINK} .*{minor}"):
            beam_check.addresses([*options, "--flink_version=1.19"])
    with pytest.raises(InputError, match=f"No Flink answers at http://{master}"):
        beam_check.addresses([*options, f"--flink_version={minor}"])


def test_ingestion_on_two_task_managers(tmp_path):
    sizes = {"range_bytes": 128 << 10, "bucket_bytes": 128 << 10}
    sample_data.write_ratings(str(tmp_path / "ratings.csv"))
    settings = Settings(ratings=str(tmp_path / "ratings.csv"), max_history_length=20)
    try:
        with flink.cluster(tmp_path / "cluster") as (_, options):
            pipeline = beam.Pipeline(argv=options)
            report = job.ingest(settings, str(tmp_path / "flink"), pipeline, **sizes)
    except flink.NotServed as error:
        pytest.skip(f"Maven does not get Beam's job server for Flink: {error}")
    assert len(report["cpu_seconds_of_workers"]) >= flink.TASK_MANAGERS
    ingested.by_beam(settings, tmp_path / "local", **sizes)
    assert compare.digests(tmp_path / "flink") == compare.digests(tmp_path / "local")
