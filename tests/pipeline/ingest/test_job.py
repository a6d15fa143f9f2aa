"""The whole job through Beam, on users written by hand."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.ingest import arrow_files, example_encoder, item_counts, stages
from pipeline.ingest.sources import reading
from tests.support import ingested
from tests.support.ingested import DAY, FIRST, Sample
from transforms.preprocessing import item_hashes


def person(name, count, first=0):
    """Events of a user with items of its own, one a day."""
    return [(f"U{name}", f"I{name}{n}", (FIRST + first + n) * DAY) for n in range(1, count + 1)]


# Ten, six and four events: 8, 4 and 2 of them train, then one is in eval and one in test.
PEOPLE = person("a", 10) + person("b", 6) + person("c", 4)
LEAVE_LAST = {
    "layout": "2014",
    "split": "leave_last",
    "max_history_length": 3,
    "shift": 3,
    "max_windows_per_user": 2,
}


def history(name, *numbers):
    return tuple((f"I{name}{n}", (FIRST + n) * DAY) for n in numbers)


def positive(split, name, number, before, history_bucket, target_bucket="0"):
    at = (FIRST + number) * DAY
    target = f"I{name}{number}"
    return Sample(
        split, f"U{name}", history(name, *before), target, at, 1, history_bucket, target_bucket
    )


def test_users_written_by_hand(tmp_path):
    path = ingested.write_csv(tmp_path / "ratings.csv", PEOPLE)
    report = ingested.by_beam(Settings(ratings=path, **LEAVE_LAST), tmp_path / "out")
    samples = ingested.read(tmp_path / "out")
    # Histories of train end at lengths 7, 3 and 1: the median is 3, and nobody's is "long".
    assert sorted(s for s in samples if s.label) == sorted(
        [
            positive("train", "a", 8, (5, 6, 7), "medium", "1-4"),
            positive("train", "a", 5, (2, 3, 4), "medium", "1-4"),
            positive("train", "b", 4, (1, 2, 3), "medium", "1-4"),
            positive("train", "c", 2, (1,), "short", "1-4"),
            positive("eval", "a", 9, (6, 7, 8), "long"),
            positive("eval", "b", 5, (2, 3, 4), "medium"),
            positive("eval", "c", 3, (1, 2), "short"),
            positive("test", "a", 10, (7, 8, 9), "long"),
            positive("test", "b", 6, (3, 4, 5), "medium"),
            positive("test", "c", 4, (1, 2, 3), "medium"),
        ]
    )
    positives = {(s.split, s.user, s.time, s.history): s for s in samples if s.label}
    negatives = [s for s in samples if not s.label]
    assert len(negatives) == len(positives)
    for sample in negatives:
        own = positives[sample.split, sample.user, sample.time, sample.history]
        others = {s.target for s in positives.values() if s.split == sample.split}
        assert sample.target in others
        assert sample.target[:2] != own.target[:2]
    assert report["windows_dropped_by_cap"] == 1
    assert report["splits"]["train"] == {"positives": 4, "samples": 8, "users": 3}
    assert report["history_buckets"] == {"medium_from": 3, "long_from": 8}
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "Split-eval",
        "Split-test",
        "Split-train",
        "bad_lines",
        "histograms.json",
        "item_counts",
        "report.json",
    ]
    histograms = json.loads((tmp_path / "out" / "histograms.json").read_text())
    assert histograms["history_lengths"] == {
        "train": {"1": 1, "2": 1, "4": 2},  # 1, 3, 4 and 7 events before a target
        "eval": {"2": 1, "4": 1, "8": 1},
        "test": {"2": 1, "4": 1, "8": 1},
    }
    # Fourteen events in training, each of an item of its own; three people have a first day.
    assert histograms["item_frequency"] == {"items": {"1": 14}, "events": {"1": 14}}
    days = list(histograms["events_by_day"].items())
    assert [count for _, count in days] == [3, 3, 3, 3, 2, 2, 1, 1, 1, 1]
    assert days == sorted(days)


def test_target_buckets_count_events_of_training(tmp_path):
    # 25 users have the item "often", six "some"; a late user meets both, and a new one.
    crowd = [e for n in range(40) for e in person(f"{n}x", 4)]
    crowd += [(f"U{n}x", "Ioften", (FIRST + 1) * DAY) for n in range(25)]
    crowd += [(f"U{n}x", "Isome", (FIRST + 1) * DAY) for n in range(6)]
    late = [("Ulate", item, (FIRST + 90 + n) * DAY) for n, item in enumerate(("Ia", "Ib", "Ic"))]
    late += [("Ulate", item, (FIRST + 95) * DAY) for item in ("Ioften", "Isome", "Inew")]
    path = ingested.write_csv(tmp_path / "ratings.csv", crowd + late + person("p", 30, 60))
    ingested.by_beam(Settings(ratings=path, layout="2014", negatives="uniform"), tmp_path / "out")
    buckets = {s.target: s.target_bucket for s in ingested.read(tmp_path / "out") if s.label}
    assert (buckets["Ioften"], buckets["Isome"], buckets["Inew"]) == ("20-99", "5-19", "0")


def test_any_runner_settings_give_the_same_samples(tmp_path):
    path = ingested.write_csv(tmp_path / "ratings.csv", PEOPLE)
    settings = Settings(ratings=path, **LEAVE_LAST)
    ingested.by_beam(settings, tmp_path / "one")
    threads = ("--direct_running_mode=multi_threading", "--direct_num_workers=3")
    report = ingested.by_beam(
        settings, tmp_path / "two", *threads, range_bytes=90, bucket_bytes=100
    )
    assert report["buckets"] > 3  # some of them without any user
    assert ingested.read(tmp_path / "two") == ingested.read(tmp_path / "one")


def test_bad_lines_are_kept_and_the_run_goes_on(tmp_path):
    path = tmp_path / "ratings.csv"
    ingested.write_csv(path, PEOPLE)
    text = path.read_text()
    path.write_text("Ua,Ia1,5.0\n" + text + "Ua,Ia1,5.0,soon\n")
    settings = Settings(ratings=str(path), max_bad_share=0.5, **LEAVE_LAST)
    report = ingested.by_beam(settings, tmp_path / "out")
    lines = [json.loads(line) for line in next((tmp_path / "out" / "bad_lines").iterdir()).open()]
    assert [(e["offset"], e["reason"], e["text"]) for e in lines] == [
        (0, "wrong number of fields", "Ua,Ia1,5.0"),
        (11 + len(text), "time is no number and no ISO 8601 date", "Ua,Ia1,5.0,soon"),
    ]
    assert report["lines"] == len(PEOPLE) + 2
    assert report["bad_lines"]["wrong number of fields"] == {"lines": 1, "share": 1 / 22}
    assert report["splits"]["test"]["positives"] == 3


def refused(tmp_path, text, **values):
    """The error of a run, which must leave no examples."""
    path = tmp_path / "ratings.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        ingested.by_beam(
            Settings(ratings=str(path), **{"layout": "2014", **values}), tmp_path / "out"
        )
    assert not list((tmp_path / "out").glob("Split-*/*"))
    assert not (tmp_path / "out" / "spill").exists()
    return str(caught.value)


def test_too_many_bad_lines(tmp_path):
    good = "".join(f"Ua,I{n},5.0,1365811200\n" for n in range(90))
    message = refused(tmp_path, good + "what,is,this\n" * 8 + "Ua,Ib,x,1365811200\n" * 2)
    for part in ("10 of 100 lines", "10.0%", "1.0%", "fields: 8", "no number: 2", "'what,is,this'"):
        assert part in message


def test_no_usable_user(tmp_path):
    (tmp_path / "ratings.csv").write_text("Ua,Ib,2.0,1365811200\n")
    settings = Settings(ratings=str(tmp_path / "ratings.csv"), layout="2014", min_rating=3.0)
    with pytest.raises(InputError, match=r"no usable user.*min_rating"):
        ingested.by_stages(settings, tmp_path / "out")


def test_ratings_that_are_not_there_cannot_be_compared(tmp_path):
    message = refused(tmp_path, "user,item,time\nUa,Ib,1365811200\n", layout="auto", min_rating=3.0)
    assert "min_rating" in message


def test_an_empty_split_names_split_d_and_counts(tmp_path):
    text = "".join(f"{u},{i},5.0,{at}\n" for u, i, at in person("a", 5) + person("b", 5))
    message = refused(tmp_path, text, split="leave_last", min_history_length=4, shift=7)
    for part in ("train and eval is empty", "d=7", "min_history_length=4", "2 targets to test"):
        assert part in message


def test_a_damaged_file(tmp_path):
    rows = "".join(f"U{n},I{n * 7919 % 10_007},5.0,{1_365_811_200 + n}\n" for n in range(100_000))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(rows.encode())[:400_000])
    with pytest.raises(InputError, match="gzip"):
        ingested.by_stages(Settings(ratings=str(tmp_path / "cut.gz")), tmp_path / "out")


@pytest.mark.parametrize("users", [1, 2])
@pytest.mark.parametrize("split", ["temporal", "leave_last"])
def test_users_with_all_items_have_no_negative(tmp_path, users, split):
    everything = [
        (f"u{user}", f"i{n}", (FIRST + n) * DAY) for user in range(users) for n in range(30)
    ]
    path = ingested.write_csv(tmp_path / "ratings.csv", everything)
    with pytest.raises(InputError, match=rf"No negative can be drawn .* events of {users} users"):
        ingested.by_beam(Settings(ratings=path, split=split), tmp_path / "out")


def test_one_item_is_named_as_the_reason(tmp_path):
    path = ingested.write_csv(
        tmp_path / "ratings.csv", [(f"u{n}", "i1", (FIRST + n) * DAY) for n in range(90)]
    )
    with pytest.raises(InputError, match="No user rated two items: 90 events of 90 users"):
        ingested.by_stages(Settings(ratings=path), tmp_path / "out")


def test_a_crash_leaves_no_half_result(tmp_path, monkeypatch):
    path = ingested.write_csv(tmp_path / "ratings.csv", PEOPLE)
    monkeypatch.setattr(example_encoder, "examples", lambda *_: 1 / 0)
    with pytest.raises(Exception, match="zero"):
        ingested.by_beam(Settings(ratings=path, **LEAVE_LAST), tmp_path / "out")
    assert not list((tmp_path / "out").glob("Split-*/*"))


def test_any_format_gives_the_same_samples(tmp_path):
    path = ingested.write_csv(tmp_path / "ratings.csv", PEOPLE)
    ingested.by_beam(Settings(ratings=path, **LEAVE_LAST), tmp_path / "csv")
    values = LEAVE_LAST | {"layout": "auto"}
    users, items, times = zip(*PEOPLE, strict=True)
    table = pa.table({"user": users, "item": items, "time": [at * 1000 for at in times]})
    pq.write_table(table, tmp_path / "f.parquet", row_group_size=7)
    rows = [{"user": u, "item": i, "time": at * 1000} for u, i, at in PEOPLE]
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, kind in (("f.parquet", "parquet"), ("f.jsonl", "jsonl")):
        settings = Settings(ratings=str(tmp_path / name), **values)
        report = ingested.by_beam(settings, tmp_path / kind)
        assert report["files"] == [
            {
                "path": str(tmp_path / name),
                "layout": kind,
                "columns": {"user": "user", "item": "item", "time": "time"},
                "separator": None,
                "unit": "ms",
                "sample": {"user": "Ua", "item": "Ia1", "time": str(times[0] * 1000)},
            }
        ]
        assert ingested.read(tmp_path / kind) == ingested.read(tmp_path / "csv")


def test_a_partition_written_twice_is_there_once(tmp_path):
    path = ingested.write_csv(tmp_path / "ratings.csv", PEOPLE)
    job = stages.Job(
        Settings(ratings=path, layout="2014"), str(tmp_path / "spill"), str(tmp_path), 2, 1.8e9
    )
    (tmp_path / "spill").mkdir()
    (part,), _ = reading.plan(Settings(ratings=path, layout="2014"))
    first, again = stages.partition(job, part), stages.partition(job, part)
    assert first == again
    assert len(list((tmp_path / "spill").iterdir())) == 1
    rows = sum(len(arrow_files.read_partition(again["files"][0], bucket)) for bucket in range(2))
    assert rows == len(PEOPLE)


def test_items_are_counted_by_their_events_not_by_the_samples_that_hold_them(tmp_path):
    # "once" is the first event of a user with many windows: in each of their histories.
    events = [("u1", "once", FIRST * DAY)]
    events += [("u1", f"i{n}", (FIRST + n) * DAY) for n in range(1, 30)]
    events += [(f"u{n}", "twice", (FIRST + n) * DAY) for n in (2, 3)]
    events += [(f"u{n}", f"x{n}{m}", (FIRST + n + m) * DAY) for n in (2, 3) for m in range(1, 12)]
    path = ingested.write_csv(tmp_path / "ratings.csv", events)
    settings = Settings(ratings=path, layout="2014", split="leave_last")
    ingested.by_stages(settings, tmp_path / "out", buckets=2)
    samples = [s for s in ingested.read(tmp_path / "out") if s.split == "train"]
    assert sum("once" in dict(s.history) for s in samples) > 20
    frequent = tmp_path / "frequent.npy"
    assert item_counts.write_frequent_items(str(tmp_path / "out"), 2, str(frequent)) == 1
    assert np.load(frequent).tolist() == item_hashes([b"twice"]).numpy().tolist()


def test_powers_of_two_worked_by_hand():
    values = np.array([0, 1, 2, 3, 4, 7, 8, 1_000])
    assert stages.by_powers_of_two(values) == {0: 1, 1: 1, 2: 2, 4: 2, 8: 1, 512: 1}
    weighed = stages.by_powers_of_two(values[1:5], weight=values[1:5])
    assert weighed == {1: 1, 2: 5, 4: 4}
    assert stages.by_powers_of_two(np.zeros(0, np.int64)) == {}
