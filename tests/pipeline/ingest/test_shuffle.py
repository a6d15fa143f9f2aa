"""The shuffle through files: every row gets to its bucket, and files are opened in proportion."""

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.io.filesystems import FileSystems

from pipeline.configs import Settings
from pipeline.ingest import shuffle
from tests.support import ingested
from tests.support.ingested import DAY, FIRST


@pytest.mark.parametrize("buckets", [1, 2, 9, 10, 27, 28, 80, 81, 82])
def test_no_file_has_more_partitions_than_the_fan_out(monkeypatch, buckets):
    monkeypatch.setattr(shuffle, "FAN_OUT", 9)
    levels = shuffle.Levels(buckets)
    assert levels.count == (1 if buckets <= 9 else 2 if buckets <= 81 else 3)
    assert levels.fan <= 9
    assert levels.ranges(0) <= levels.fan
    assert levels.ranges(levels.count - 1) == buckets


@pytest.mark.parametrize("merged_bytes", [1, 1 << 20])
@pytest.mark.parametrize("buckets", [1, 3, 11, 30])
def test_every_row_gets_to_its_bucket_in_the_order_of_the_files(
    tmp_path, monkeypatch, buckets, merged_bytes
):
    monkeypatch.setattr(shuffle, "FAN_OUT", 3)
    monkeypatch.setattr(shuffle, "MERGED_BYTES", merged_bytes)
    rng = np.random.default_rng(0)
    # Bucket 0 is empty where there are others, and the last file has no rows.
    bucket_of = rng.integers(min(1, buckets - 1), buckets, 200)
    files = {0: []}
    levels = shuffle.Levels(buckets)

    def write(name, rows, level):
        batch = pa.RecordBatch.from_arrays([pa.array(rows)], names=["row"])
        levels.write(str(tmp_path / name), batch, bucket_of[rows], level)
        return str(tmp_path / name)

    for number, rows in enumerate([*np.split(np.arange(200), 20), np.zeros(0, np.int64)]):
        files[0].append(write(f"piece-{number:02}", rows, 0))
    for level in range(1, levels.count):
        files = {
            part: [
                write(f"{level}-{part:02}-{number:02}", batch.column(0).to_numpy(), level)
                for number, batch in enumerate(levels.merge(files, part))
            ]
            for part in range(levels.ranges(level - 1))
        }
    for bucket in range(buckets):
        expected = np.flatnonzero(bucket_of == bucket).tolist()
        assert levels.read(files, bucket)["row"].to_pylist() == expected


def events(users):
    return [
        (f"U{u}", f"I{(7 * u + n * n) % 97}", (FIRST + n) * DAY)
        for u in range(users)
        for n in range(12)
    ]


def opens(folder, monkeypatch, count):
    """How often the job opens a file between stages, with `count` ranges and buckets."""
    opened = []
    real = FileSystems.open

    def counting(path, **kwargs):
        opened.append(path)
        return real(path, **kwargs)

    # Four times the ratings for four times the ranges.
    path = ingested.write_csv(folder / "ratings.csv", events(5 * count))
    size = (folder / "ratings.csv").stat().st_size
    with monkeypatch.context() as patch:
        patch.setattr(FileSystems, "open", staticmethod(counting))
        settings = Settings(ratings=path, layout="2014", split="leave_last")
        ingested.by_stages(settings, folder / "out", size // count + 1, count)
    return len(opened)


def test_opened_files_grow_with_the_data_and_not_with_its_square(tmp_path, monkeypatch):
    monkeypatch.setattr(shuffle, "MERGED_BYTES", 4096)  # about a range, as in a real run
    by_levels, at_once = [], []
    for count in (16, 64):
        monkeypatch.setattr(shuffle, "FAN_OUT", 4)
        by_levels.append(opens(tmp_path / f"levels-{count}", monkeypatch, count))
        monkeypatch.setattr(shuffle, "FAN_OUT", 64)
        at_once.append(opens(tmp_path / f"at-once-{count}", monkeypatch, count))
    # Two shuffles, of events and of items, each of all ranges by all buckets.
    assert at_once[1] > 2 * 64 * 64
    assert at_once[1] / at_once[0] > 10
    # 16 = 4^2 buckets take two levels, 64 = 4^3 take three; the rest is a few files for each.
    for count, levels, found in ((16, 2, by_levels[0]), (64, 3, by_levels[1])):
        assert found <= count * (2 * levels * 4 + 8)
    assert by_levels[1] / by_levels[0] <= 4 * 3 / 2


def test_levels_give_the_same_files_of_samples_as_one(tmp_path, monkeypatch):
    path = ingested.write_csv(tmp_path / "ratings.csv", events(40))
    settings = Settings(ratings=path, layout="2014", split="leave_last")
    sizes = {"range_bytes": 900, "bucket_bytes": 900}
    report = ingested.by_beam(settings, tmp_path / "one", **sizes)
    monkeypatch.setattr(shuffle, "FAN_OUT", 3)
    again = ingested.by_beam(settings, tmp_path / "levels", **sizes)
    assert again["buckets"] == report["buckets"] > 9
    assert set(again["seconds"]) - set(report["seconds"]) == {
        f"regroup {kind} {level}" for kind in ("events", "items") for level in (1, 2)
    }
    written = sorted((tmp_path / "one").glob("Split-*/*"))
    assert len(written) > 9
    for file in written:
        other = tmp_path / "levels" / file.relative_to(tmp_path / "one")
        assert other.read_bytes() == file.read_bytes()
