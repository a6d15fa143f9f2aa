"""The formula of opened files, against a run in which every open is counted."""

import pytest
from apache_beam.io.filesystems import FileSystems

from benchmarks.ingestion import opens
from pipeline.configs import Settings
from pipeline.ingest import shuffle
from tests.support import ingested
from tests.support.ingested import DAY, FIRST

EVENTS = [
    (f"U{user}", f"I{(7 * user + n * n) % 97}", (FIRST + n) * DAY)
    for user in range(150)
    for n in range(12)
]


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """Runs all stages with a number of ranges and buckets; gives the opened files."""

    def run(count):
        opened = []
        real = FileSystems.open

        def counting(path, **kwargs):
            opened.append(path)
            return real(path, **kwargs)

        path = ingested.write_csv(tmp_path / "ratings.csv", EVENTS)
        size = (tmp_path / "ratings.csv").stat().st_size
        monkeypatch.setattr(FileSystems, "open", staticmethod(counting))
        settings = Settings(ratings=path, layout="2014", split="leave_last")
        ingested.by_stages(settings, tmp_path / "out", size // count + 1, count)
        return opened

    return run


@pytest.mark.parametrize(("fan_out", "count"), [(64, 20), (5, 20), (3, 26)])
def test_the_formula_is_exact_where_a_range_is_merged_into_one_file(
    counted, monkeypatch, fan_out, count
):
    monkeypatch.setattr(shuffle, "FAN_OUT", fan_out)
    monkeypatch.setattr(shuffle, "MERGED_BYTES", 1 << 30)
    opened = counted(count)
    files = len({path for path in opened if "/events-" in path})
    assert files == count
    assert opens.opens(files, count, 1.0, 1.0) == len(opened)


def test_the_formula_is_near_where_ranges_are_several_files(counted, monkeypatch):
    monkeypatch.setattr(shuffle, "FAN_OUT", 5)
    monkeypatch.setattr(shuffle, "MERGED_BYTES", 2_000)
    opened = counted(20)
    sizes = [24.0 * len(EVENTS), 30.0 * len(EVENTS)]  # of short ids
    wanted = opens.opens(20, 20, *sizes)
    assert wanted > opens.opens(20, 20, 1.0, 1.0) * 1.2
    assert len(opened) == pytest.approx(wanted, rel=0.15)


def test_a_thousand_million_ratings_open_files_in_proportion():
    small, large = (opens.of_ratings(ratings, 2) for ratings in (22.5e6, 1e9))
    assert (small["levels"], large["levels"]) == (1, 2)
    assert large["one_level"] / small["one_level"] > 1_000
    # Two shuffles, each at most FAN_OUT opens of a file at each of two levels, and the rest.
    most = 2 * 2 * shuffle.FAN_OUT * max(large["ranges"], large["buckets"])
    assert large["opens"] < most + 7 * large["buckets"]
