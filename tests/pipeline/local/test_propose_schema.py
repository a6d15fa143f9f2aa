"""`make schema`: a proposal from statistics, and nothing on the standard error."""

import os
import subprocess
import sys

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2


def propose(output):
    """Runs the command as a user does, with TensorFlow's default log level."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline.local.propose_schema", "--output", str(output)],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("TF_CPP")},
    )


def statistics_of(name, rows):
    """Statistics of one int feature that each row has once."""
    result = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = result.datasets.add(num_examples=rows)
    feature = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.INT)
    feature.path.step.append(name)
    common = feature.num_stats.common_stats
    common.num_non_missing, common.tot_num_values = rows, rows
    common.min_num_values, common.max_num_values, common.avg_num_values = 1, 1, 1.0
    return result.SerializeToString()


def test_it_proposes_what_the_newest_statistics_say(tmp_path):
    for run, name in ((3, "old"), (9, "label")):
        folder = tmp_path / "pipeline" / "imn" / "StatisticsGen" / "statistics" / str(run)
        (folder / "Split-train").mkdir(parents=True)
        file = folder / "Split-train" / "FeatureStats.pb"
        file.write_bytes(statistics_of(name, 100))
        os.utime(file, (run, run))
    done = propose(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    proposal = tmp_path / "report" / "schema.pbtxt"
    assert str(proposal) in done.stdout
    (feature,) = text_format.Parse(proposal.read_text(), schema_pb2.Schema()).feature
    assert (feature.name, feature.type) == ("label", schema_pb2.INT)


def test_without_a_run_it_says_so_in_a_line(tmp_path):
    done = propose(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"There are no statistics under {tmp_path}. Run `make run` first.\n"
