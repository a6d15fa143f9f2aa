"""Event fields from files written by hand to Examples, in every format."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.configs import Settings, SettingsError
from pipeline.ingest import example_encoder, histories
from tests.support import ingested
from tests.support.ingested import DAY, FIRST
from tests.support.ratings_files import layout, write
from transforms import features

# Two users of six and four events: the last is in test, the one before it in eval.
EVENTS = [("Ua", f"Ia{n}", (FIRST + n) * DAY) for n in range(1, 7)]
EVENTS += [("Ub", f"Ib{n}", (FIRST + n) * DAY) for n in range(1, 5)]
# Values of the events in this order; None is missing.
STARS = [5, 4, None, 2, 1, 5, 3, 3, 4, 5]
VERIFIED = [True, False, True, True, None, True, False, True, True, False]
ACTION = ["buy", "look", "ä" * 150, "", "null", "buy", "look", 'say "hi", twice', "NaN", "buy"]
FIELDS = "stars,verified purchase,action"
VALUES = {"split": "leave_last", "max_history_length": 3, "event_fields": FIELDS}
HAND = {
    # split, user: numbers of the history's events, stars, verified, action
    ("test", "Ua"): (("", "2", "1"), ("true", "true", ""), ("ä" * 100, "", "")),
    ("eval", "Ua"): (("4", "", "2"), ("false", "true", "true"), ("look", "ä" * 100, "")),
    ("test", "Ub"): (("3", "3", "4"), ("false", "true", "true"), ("look", 'say "hi", twice', "")),
    ("eval", "Ub"): (("3", "3"), ("false", "true"), ("look", 'say "hi", twice')),
}


def write_csv(path):
    def quoted(text):
        return '"' + text.replace('"', '""') + '"' if '"' in text else text

    lines = ["user_id,item_id,timestamp,stars,verified purchase,action"]
    for (user, item, at), stars, verified, action in zip(
        EVENTS, STARS, VERIFIED, ACTION, strict=True
    ):
        words = [user, item, str(at), "" if stars is None else str(stars)]
        words += ["" if verified is None else str(verified).lower(), quoted(action)]
        lines.append(",".join(words))
    return write(path, "\n".join(lines) + "\n")


def write_jsonl(path):
    lines = []
    for (user, item, at), stars, verified, action in zip(
        EVENTS, STARS, VERIFIED, ACTION, strict=True
    ):
        row = {"user_id": user, "item_id": item, "timestamp": at, "action": action}
        row |= {} if stars is None else {"stars": stars}
        row |= {"verified purchase": verified}
        lines.append(json.dumps(row))
    return write(path, "\n".join(lines))


def write_parquet(path):
    users, items, times = zip(*EVENTS, strict=True)
    columns = {"user_id": users, "item_id": items, "timestamp": times, "action": ACTION}
    columns["stars"] = pa.array(STARS, pa.float64())  # as pandas writes numbers with a gap
    columns["verified purchase"] = VERIFIED
    pq.write_table(pa.table(columns), path, row_group_size=4)
    return str(path)


def ingest(path, out, **values):
    # The stars are an attribute here: a rating that is missing would be a bad line.
    values = VALUES | {"columns": "user=user_id,item=item_id,time=timestamp"} | values
    ingested.by_stages(Settings(ratings=path, **values), out, buckets=2)
    return ingested.read(out)


def test_values_are_those_of_the_events_in_every_format(tmp_path):
    (tmp_path / "f").mkdir()
    found = {
        kind: ingest(writer(tmp_path / "f" / f"ratings.{kind}"), tmp_path / kind)
        for kind, writer in (("csv", write_csv), ("jsonl", write_jsonl), ("parquet", write_parquet))
    }
    names = ("history_stars", "history_verified_purchase", "history_action")
    for (split, user), expected in HAND.items():
        (sample,) = (s for s in found["csv"] if (s.split, s.user, s.label) == (split, user, 1))
        assert sample.values == tuple(sorted(zip(names, expected, strict=True)))
    assert found["jsonl"] == found["csv"]
    assert found["parquet"] == found["csv"]
    # Without fields, the same samples without values.
    plain = ingest(write_csv(tmp_path / "ratings.csv"), tmp_path / "plain", event_fields="")
    assert plain == sorted(s._replace(values=()) for s in found["csv"])


def test_the_rating_of_a_file_without_a_header(tmp_path):
    path = ingested.write_csv(tmp_path / "ratings.csv", EVENTS, scored=True)
    samples = ingest(path, tmp_path / "out", layout="2014", columns="", event_fields="rating")
    for sample in samples:
        scores = tuple(ingested.score(sample.user, item, at) for item, at in sample.history)
        assert sample.values == (("history_rating", scores),)
    found = layout(path, layout="2014", event_fields="rating")
    assert "history_rating column 3 = " in found.describe()
    numbered = {"columns": "user=1,item=2,time=4,rating=3"}
    assert layout(path, **numbered, event_fields="rating").roles["history_rating"] == "3"


def test_a_header_in_the_middle_of_a_file(tmp_path):
    head = "user,item,time,rating,action\n"
    row = "u,i{},1365811200,5,buy\n"
    rows = "".join(row.format(n) for n in range(5))
    path = write(tmp_path / "a.csv", head + rows + head + rows)
    found = layout(path, event_fields="action,rating")
    assert found.roles["history_action"] == "action"
    assert found.sample["history_action"] == "buy"
    path = write(tmp_path / "b.csv", head + rows + head.replace("action", "device") + rows)
    with pytest.raises(ValueError, match="header with other columns"):
        layout(path, event_fields="action")
    assert layout(path).roles.keys() == {"user", "item", "time", "rating"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            "verifed purchase",
            "must name columns .*Received: 'verifed purchase'. Did you mean verified purchase",
        ),
        ("user_id", "is the user"),
        ("timestamp", "is the time"),
    ],
)
@pytest.mark.parametrize("writer", [write_csv, write_jsonl, write_parquet])
def test_a_name_that_is_no_column_is_told_with_the_nearest(tmp_path, writer, fields, message):
    path = writer(tmp_path / "ratings")
    with pytest.raises(SettingsError, match=f"(?s){message}"):
        layout(path, event_fields=fields)


@pytest.mark.parametrize("setting", ["a,,b", "a,a", "a b,a_b", "item", "time,a", "bucket"])
def test_names_that_cannot_be_features(setting):
    with pytest.raises(SettingsError, match="`event_fields` must be names of columns"):
        Settings(event_fields=setting)


def test_names_of_columns_in_other_case_and_with_other_marks(tmp_path):
    path = write_csv(tmp_path / "ratings.csv")
    found = layout(path, event_fields="Stars, verified_purchase")
    assert found.roles["history_Stars"] == "stars"
    assert found.roles["history_verified_purchase"] == "verified purchase"


def test_a_column_of_lists_is_refused(tmp_path):
    table = pa.table({"user": ["u"], "item": ["i"], "time": [1365811200], "tags": [["a"]]})
    pq.write_table(table, tmp_path / "f.parquet")
    with pytest.raises(ValueError, match="must hold texts, numbers or times"):
        layout(tmp_path / "f.parquet", event_fields="tags")


def test_numbers_of_parquet_have_the_same_text_whatever_stands_beside_them(tmp_path):
    numbers = [5.0, 4.5, math.nan, None, 1e30, -2.0, 0.1]
    for kind in (pa.float64(), pa.float32()):
        table = pa.table(
            {
                "user": ["u"] * 7,
                "item": [f"i{n}" for n in range(7)],
                "time": [1365811200 + n for n in range(7)],
                "x": pa.array(numbers, kind),
            }
        )
        pq.write_table(table, tmp_path / "f.parquet")
        found = layout(tmp_path / "f.parquet", event_fields="x")
        assert found.sample["history_x"] == "5"
        from pipeline.ingest.sources import parquet

        texts = parquet._columns("f", table.to_batches()[0], found.roles)["history_x"].to_pylist()
        assert texts[:2] == ["5", "4.5"]
        assert texts[3] == ""
        assert texts[5:] == ["-2", "0.1"]


def test_of_repeated_events_the_same_value_stays_in_any_order():
    values = [b"v%d" % n for n in range(9)]
    kept = set()
    for shift in range(9):
        table = pa.table(
            {
                "user": [b"u"] * 9,
                "item": [b"i"] * 9,
                "time": [FIRST * DAY * 1_000_000] * 9,
                "history_x": values[shift:] + values[:shift],
            }
        )
        events, dropped = histories.sort_events(table, 0)
        assert dropped == 8
        kept |= set(events.values["history_x"].to_pylist())
    assert len(kept) == 1


def test_a_field_is_encoded_as_items_are():
    users, items = pa.array([b"U"]), pa.array([b"I1", b"I2", b"I3"])
    time, values = np.array([FIRST * DAY] * 3), pa.array([b"a", b"", b"c" * 200])
    encoder = example_encoder.Encoder(users, items, time, 4, {"history_x": values})
    zero = np.zeros(1, np.int64)
    (encoded,) = encoder.histories(zero, zero, zero + 3, zero, zero)
    (record,) = example_encoder.examples([encoded], [b""])
    feature = ingested.tf.train.Example.FromString(record).features.feature
    assert list(feature["history_x"].bytes_list.value) == [b"a", b"", b"c" * 200, b""]
    plain = example_encoder.Encoder(users, items, time, 4).histories(
        zero, zero, zero + 3, zero, zero
    )
    assert encoded.startswith(plain[0])
    assert features.HISTORY_ITEM in feature
