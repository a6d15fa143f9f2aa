"""The ingestion benchmark: both jobs write the same Examples, and the digest shows differences."""

import json
import pathlib
import random
import subprocess
import sys
import time

import apache_beam as beam
import pytest
import tensorflow as tf

from benchmarks.ingestion import example_digest, jobs, naive_beam
from pipeline.configs import Settings
from pipeline.ingest import job

IN_MEMORY = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]


def ratings(path: pathlib.Path) -> str:
    chance = random.Random(1)
    lines = []
    for _ in range(400):
        day = 15_000 + chance.randrange(60)
        user, item = chance.randrange(15), int(chance.paretovariate(0.7)) % 80
        lines.append(f"U{user},I{item},{chance.randrange(1, 6)}.0,{day * 86_400}\n")
    path.write_text("".join(lines + lines[:9] + ["U1,I1,x,1365811200\n"]))
    return str(path)


@pytest.mark.parametrize(
    "values",
    [
        {"split": "temporal", "same_day": "exclude", "negatives_per_positive": 2},
        {"split": "leave_last", "shift": 3, "max_windows_per_user": 2, "min_rating": 2.0},
        {"split": "user", "max_history_length": 7, "min_history_length": 0, "sampling_seed": 5},
    ],
)
def test_both_jobs_write_the_same_examples(tmp_path, values):
    settings = Settings(ratings=ratings(tmp_path / "ratings.csv"), **values)
    job.ingest(settings, str(tmp_path / "ours"), beam.Pipeline(argv=IN_MEMORY))
    pipeline = beam.Pipeline(argv=IN_MEMORY)
    naive_beam.run(settings, str(tmp_path / "plain"), pipeline, time.time())
    ours = example_digest.digest(str(tmp_path / "ours"))
    assert ours == example_digest.digest(str(tmp_path / "plain"))
    assert all(int(value.split(":")[0]) > 0 for value in ours.values())


def write(folder, examples):
    folder.mkdir(parents=True)
    for split in ("train", "eval", "test"):
        (folder / f"Split-{split}").mkdir()
    with tf.io.TFRecordWriter(str(folder / "Split-train" / "a.gz"), "GZIP") as writer:
        for items, label in examples:
            feature = {
                "items": tf.train.Feature(bytes_list=tf.train.BytesList(value=items)),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
    return example_digest.digest(str(folder))["train"]


def test_digest_tells_sets_of_examples_apart(tmp_path):
    rows = [([b"a", b"b"], 1), ([b"c", b""], 0), ([b"", b"c"], 0)]
    base = write(tmp_path / "base", rows)
    assert write(tmp_path / "order", rows[::-1]) == base
    others = [
        rows[:2],
        [*rows, rows[0]],
        [([b"b", b"a"], 1), *rows[1:]],
        [([b"a", b"b"], 0), ([b"c", b""], 1), rows[2]],
        [([b"ab", b""], 1), *rows[1:]],
    ]
    digests = [write(tmp_path / str(n), other) for n, other in enumerate(others)]
    assert len({base, *digests}) == len(others) + 1


def test_copies_have_ids_of_their_own(tmp_path):
    source = tmp_path / "source.csv"
    source.write_text("U1,I1,5.0,1365811200\nU2,I1,5.0,1365811300\n")
    assert jobs.replicate(str(source), 5, str(tmp_path / "out.csv")) == 5
    rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().split()]
    assert [row[0][-1] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [row[1][-1] for row in rows] == ["0", "0", "1", "1", "2"]
    assert {row[3] for row in rows} == {"1365811200", "1365811300"}


def test_the_command_measures_and_reports(tmp_path):
    path = ratings(tmp_path / "ratings.csv")
    command = [sys.executable, "-m", "benchmarks.ingestion", "--ratings", path, "--repeats", "1"]
    subprocess.run([*command, "--output", str(tmp_path)], capture_output=True, check=True)
    result = json.loads((tmp_path / "ingest.json").read_text())
    assert result["same_examples"]
    # 400 ratings and 9 repeated ones; the last line has no valid rating.
    assert {name: job["rows"] for name, job in result["jobs"].items()} == {
        **{"ours": 409, "plain": 409, "polars": 409}
    }
    assert all(job["peak_memory_mb"] > 100 for job in result["jobs"].values())
    assert "both write the same set of examples" in (tmp_path / "ingest.md").read_text()
