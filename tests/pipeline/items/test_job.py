"""Item tables of small catalogues in every format, by Beam; and catalogues that are refused."""

import gzip
import json

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.ingest import arrow_files, hashing
from pipeline.ingest.stages import ITEM_COUNTS
from pipeline.items.job import Request, make_item_table
from pipeline.progress import Progress
from transforms import item_table

EVENTS = {"i1": 5, "i2": 3, "i3": 2, "gone": 1}
ROWS = [
    {"asin": "i1", "category": [["A", "B"], ["A", "C"]], "price": "$1.00"},
    {"asin": "i2", "category": ["B"], "price": "$2.00"},
    {"asin": "i3", "category": "A", "price": "free"},
    {"asin": "new", "category": ["C", "unseen"], "price": "$9.00"},
    {"asin": "bare"},
]
# Vocabulary by the training items i1, i2, i3: A twice, B twice, C once.
FIELDS = "category,price:number"  # by itself the rule takes "free" for a category
CATEGORY = {"i1": [2, 3, 4], "i2": [3], "i3": [2], "new": [4], "bare": [1]}


@pytest.fixture
def examples(tmp_path):
    """A folder of Examples with the training events of items."""
    folder = tmp_path / "examples"
    (folder / ITEM_COUNTS).mkdir(parents=True)
    items = pa.array([item.encode() for item in EVENTS], pa.binary())
    columns = [pa.array(hashing.hash_strings(items)), items, pa.array(list(EVENTS.values()))]
    batch = pa.record_batch(columns, ["hash", "item", "count"])
    arrow_files.write(str(folder / ITEM_COUNTS / "0"), batch.schema, [batch])
    return str(folder)


@pytest.fixture
def finished(monkeypatch):
    """Steps done and steps announced, when the job has ended."""
    ends = []

    class Recorded(Progress):
        def __exit__(self, *error):
            ends.append((self.done(), self._total))
            super().__exit__(*error)

    monkeypatch.setattr("pipeline.items.job.Progress", Recorded)
    return ends


def make(items, folder, examples="", fields="", frozen="", **sizes):
    request = Request(str(items), fields, 0.2, 100, examples, frozen)
    argv = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
    return make_item_table(request, str(folder), beam.Pipeline(argv=argv), **sizes)


def json_lines(rows=ROWS):
    return "".join(json.dumps(row) + "\n" for row in rows)


def by_item(folder, field):
    table = item_table.load(str(folder))
    values = table.values(field)
    return {
        item.decode(): [value for value in row if value != item_table.PADDING]
        for item, row in zip(table.ids(), values.tolist(), strict=True)
    }


@pytest.mark.parametrize("buckets", [1, 3])
def test_the_table(tmp_path, examples, buckets, finished):
    path = tmp_path / "items.jsonl"
    path.write_text(json_lines())
    sizes = {"range_bytes": 100, "bucket_bytes": len(json_lines()) // buckets}
    report = make(path, tmp_path / "t", examples, FIELDS, **sizes)
    assert by_item(tmp_path / "t", 0) == CATEGORY
    table = item_table.load(str(tmp_path / "t"))
    assert table.vocabulary(0) == ["A", "B", "C"]
    assert table.shape()["category"] == 5
    # Buckets of prices are made by the training items alone: quantiles of 1 and 2.
    bounds = np.unique(np.quantile([1.0, 2.0], np.arange(1, 20) / 20))
    price = by_item(tmp_path / "t", 1)
    assert price["i1"] == [2 + np.searchsorted(bounds, 1.0, "right")]
    assert price["new"] == [2 + len(bounds)]
    assert price["i3"] == price["bare"] == [item_table.MISSING]
    assert (report["items"], report["bare"]) == (5, 1)
    assert (report["known_events"], report["training_events"]) == (10, 11)
    assert report["odd"]["price"] == {"not a number": 1}
    ((done, total),) = finished
    ranges = -(-len(json_lines()) // 100)
    assert done == total == ranges + 2 * buckets  # two stages work on each bucket


def as_csv(rows):
    lines = ["asin,category,price"]
    flat = {"i1": "A|B|C", "i2": "B", "i3": "A", "new": "C|unseen", "bare": ""}
    lines += [f'{row["asin"]},"{flat[row["asin"]]}",{row.get("price", "")}' for row in rows]
    return "\n".join(lines)


@pytest.mark.parametrize("kind", ["json", "python", "csv", "tsv", "recbole", "parquet", "gzip"])
def test_every_format_gives_the_same_table(tmp_path, examples, kind):
    path = tmp_path / "items"
    if kind == "json":
        path.write_text(json_lines())
    elif kind == "python":
        path.write_text("".join(f"{row}\n" for row in ROWS))
    elif kind == "gzip":
        path.write_bytes(gzip.compress(json_lines().encode()))
    elif kind == "csv":
        path.write_text(as_csv(ROWS))
    elif kind == "tsv":
        path.write_text(as_csv(ROWS).replace(",", "\t"))
    elif kind == "recbole":
        text = as_csv(ROWS).replace("|", " ").replace(",", "\t")
        path.write_text(text.replace("asin\tcategory", "item_id:token\tcategory:token_seq"))
    else:
        flat = [["A", "B", "C"], ["B"], ["A"], ["C", "unseen"], None]
        columns = {"asin": [row["asin"] for row in ROWS], "category": flat}
        columns["price"] = [row.get("price") for row in ROWS]
        pq.write_table(pa.table(columns), str(path))
    make(path, tmp_path / "t", examples, fields="category")
    assert by_item(tmp_path / "t", 0) == CATEGORY


def test_several_rows_of_an_item(tmp_path, examples):
    rows = [*ROWS, {"asin": "bare", "price": "$2.00"}, ROWS[0]]
    rows += [{"asin": "i2", "category": ["C"]}]  # contradicts; the first row counts
    path = tmp_path / "items.jsonl"
    path.write_text(json_lines(rows))
    report = make(path, tmp_path / "t", examples, FIELDS)
    assert by_item(tmp_path / "t", 0) == CATEGORY
    assert by_item(tmp_path / "t", 1)["bare"] != [item_table.MISSING]
    assert (report["repeated"], report["conflicts"]) == (3, 1)


def test_a_row_depends_on_its_own_metadata_alone(tmp_path, examples):
    path = tmp_path / "items.jsonl"
    path.write_text(json_lines())
    make(path, tmp_path / "a", examples, FIELDS)
    others = [row for row in ROWS if row["asin"] != "new"]
    path.write_text(
        json_lines([{"asin": "new", "category": ["A"], "price": "$3.00"}, *others[::-1]])
    )
    make(path, tmp_path / "b", examples, FIELDS)
    for field in (0, 1):
        before, after = by_item(tmp_path / "a", field), by_item(tmp_path / "b", field)
        assert {**before, "new": 0} == {**after, "new": 0}


def test_frozen_vocabularies(tmp_path, examples):
    path = tmp_path / "items.jsonl"
    path.write_text(json_lines())
    make(path, tmp_path / "a", examples, FIELDS)
    path.write_text(
        json_lines([*ROWS, {"asin": "newer", "category": ["unseen", "B"], "price": "3"}])
    )
    make(path, tmp_path / "b", examples, frozen=str(tmp_path / "a"))
    first, second = (item_table.load(str(tmp_path / name)) for name in "ab")
    assert second.vocabulary(0) == first.vocabulary(0)
    assert second.shape() == first.shape()
    assert by_item(tmp_path / "b", 0) == CATEGORY | {"newer": [3]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("not json\n{\n" + json_lines(), "items` must be JSON lines, Parquet, or a table"),
        (
            json_lines([*ROWS, {"asin": "a\nb", "category": "A"}, {"asin": ["i1"]}]),
            "2 of 7 rows of `items` are bad.*a line break in the id: 1; no id: 1",
        ),
        (json_lines() + "{broken\n" * 3, "3 of 8 rows of `items` are bad.*neither JSON nor"),
        (json_lines([{"category": "A"}, *ROWS]).replace("asin", "x"), "column of item ids"),
        (json_lines(ROWS[3:]), "at least half of the ratings.*0 of 11 training ratings"),
        (
            json_lines([*ROWS, *({"asin": i, "category": "C"} for i in ("i1", "i2", "i3"))]),
            "3 of 5 items have several rows with other values",
        ),
        ("[" + json_lines() + "]", "one JSON array"),
        ("<html><body>404", "a web page"),
    ],
)
def test_what_is_refused(tmp_path, examples, text, message):
    path = tmp_path / "items"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        make(path, tmp_path / "t", examples)
    assert not (tmp_path / "t" / item_table.DESCRIPTION).exists()


def test_a_field_that_is_nearly_empty_or_no_number(tmp_path, examples):
    rows = [*ROWS, *({"asin": f"x{n}", "category": "A", "price": "ask"} for n in range(400))]
    path = tmp_path / "items.jsonl"
    path.write_text(json_lines(rows))
    with pytest.raises(InputError, match=r"`price` must have a value.*3 of 405.*401 values"):
        make(path, tmp_path / "t", examples, fields="category,price:number")


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="`items` must name a file"):
        make(tmp_path / "none", tmp_path / "t")


def test_titles_are_kept_for_people(tmp_path, examples):
    """One line each; of several rows of an item the first title; cut after 200 characters."""
    rows = [
        {"asin": "i1", "title": "A <b>bold</b>\n title &amp; more", "brand": "x"},
        {"asin": "i2", "brand": "y"},
        {"asin": "i2", "title": "Second row", "brand": "y"},
        {"asin": "i3", "title": "long " * 100, "brand": "x"},
    ]
    (tmp_path / "items.jsonl").write_text(json_lines(rows))
    make(tmp_path / "items.jsonl", tmp_path / "table", examples)
    table = item_table.load(str(tmp_path / "table"))
    titles = dict(zip(table.ids(), table.titles(), strict=True))
    assert titles[b"i1"] == "A bold title & more"
    assert titles[b"i2"] == "Second row"
    assert titles[b"i3"] == ("long " * 100)[:200]
    assert [field.name for field in table.fields] == ["brand"]  # no model reads a title
