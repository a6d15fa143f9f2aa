"""Compressions, Parquet and JSON lines; and what is none of these is named."""

import bz2
import gzip
import io
import json
import lzma
import math
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.errors import InputError
from pipeline.items import source
from tests.support.ratings_files import read, write

S = 1_365_811_200
ROWS = "".join(f"u{n % 50},i{n % 90},5.0,{S + n}\n" for n in range(3_000))
EVENTS = sorted((f"u{n % 50}", f"i{n % 90}", S + n) for n in range(3_000))


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, ROWS)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("ratings.csv")
        info.size = len(ROWS)
        archive.addfile(info, io.BytesIO(ROWS.encode()))
    return buffer.getvalue()


def with_zip_header(place: int, value: int) -> bytes:
    """A zip file whose headers of its one file have another 16-bit value at a place."""
    data = bytearray(zipped("ratings.csv"))
    for start in (0, data.index(b"PK\x01\x02") + 2):  # the second header has one value more
        data[start + place : start + place + 2] = value.to_bytes(2, "little")
    return bytes(data)


half = len(ROWS) // 2
PACKED = {
    "gzip": gzip.compress(ROWS.encode()),
    "two gzip members": gzip.compress(ROWS[:half].encode()) + gzip.compress(ROWS[half:].encode()),
    "bz2": bz2.compress(ROWS.encode()),
    "xz": lzma.compress(ROWS.encode()),
    "zstd": zstandard.compress(ROWS.encode()),
    "two zstd frames": zstandard.compress(ROWS[:half].encode())
    + zstandard.compress(ROWS[half:].encode()),
    "zip": zipped("ratings.csv", "__MACOSX/._ratings.csv"),
}


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("block_bytes", [1_000, 1 << 20])
def test_compressions(tmp_path, name, block_bytes):
    path = write(tmp_path / "ratings", PACKED[name])
    assert read(path, block_bytes=block_bytes) == (EVENTS, [], 3_000, 0)


@pytest.mark.parametrize("name", ["gzip", "bz2", "xz", "zstd", "zip"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_file_that_is_cut_off_is_named(tmp_path, name, share):
    whole = PACKED[name]
    path = write(tmp_path / "cut", whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=rf"cut' is not a whole {name} file.* Fetch it again"):
        read(path)


OTHERS = {
    "UTF-16": ROWS.encode("utf-16"),
    "UTF-16 without a mark": ROWS.encode("utf-16-le"),
    "UTF-16, big end first": ROWS.encode("utf-16-be"),
    "gzip in gzip": gzip.compress(gzip.compress(ROWS.encode())),
    "tar": tarred(),
    "tar in gzip": gzip.compress(tarred()),
    "zip of two": zipped("a.csv", "b.csv"),
    "zip with a password": with_zip_header(6, 1),
    "Deflate64": with_zip_header(8, 9),
    "Avro": b"Obj\x01" + bytes(300),
    "web page": b"<!DOCTYPE html>\n<html>\n",
    "JSON array": json.dumps([{"user_id": "u"}]).encode(),
    "JSON array over lines": b'\n[\n{"user_id":"u"},\n',
    "Python": b"{'asin': 'B000000000', 'title': 'x'}\n" * 3,
    "old line ends": ROWS.replace("\n", "\r").encode(),
}
NAMES = {
    "UTF-16": "UTF-16 text.*iconv",
    "UTF-16 without a mark": "UTF-16 text.*iconv",
    "UTF-16, big end first": "UTF-16 text.*iconv",
    "gzip in gzip": "gzip inside gzip",
    "tar": "a tar archive",
    "tar in gzip": "a tar archive",
    "zip of two": "a zip file of 2 files",
    "zip with a password": "must be a zip file without a password.*'ratings.csv'.*Unpack it",
    "Deflate64": "must be a zip file packed with deflate.*method 9.*Unpack it",
    "Avro": "Avro",
    "web page": "a web page",
    "JSON array": "one JSON array.*jq",
    "JSON array over lines": "one JSON array.*jq",
    "Python": "Python literals",
    "old line ends": "text with carriage returns.*tr ",
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(InputError, match=rf"(?s)ratings' (is )?{NAMES[name]}"):
        read(write(tmp_path / "ratings", OTHERS[name]))


def not_utf8(kind):
    """A hundred thousand texts, the last of which is not UTF-8, of a type of Arrow."""
    data = b"u" * 99_999 + b"\xff"
    offsets = pa.py_buffer(np.arange(100_001, dtype=np.int32))
    texts = pa.Array.from_buffers(pa.string(), 100_000, [None, offsets, pa.py_buffer(data)])
    return texts if kind == "string" else texts.view(pa.binary()).cast(kind)


@pytest.mark.parametrize("kind", ["string", pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("start", [0, 99_990])
@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_parquet_that_is_not_utf8_is_refused_in_words(tmp_path, kind, start, column):
    ids = not_utf8(kind).slice(start)
    table = {"user_id": ["u"] * len(ids), "item_id": ["i"] * len(ids), "timestamp": [S] * len(ids)}
    path = str(tmp_path / "f.parquet")
    pq.write_table(pa.table({**table, column: ids}), path)
    with pytest.raises(InputError, match=rf"f.parquet' .*must be UTF-8.*'{column}'.*Convert it"):
        read(path)


def test_texts_of_items_in_parquet_that_are_not_utf8_are_refused_in_words(tmp_path):
    path = str(tmp_path / "f.parquet")
    pq.write_table(pa.table({"asin": not_utf8("string").slice(99_990)}), path)
    with pytest.raises(InputError, match=r"f.parquet' must be UTF-8.*Convert the column"):
        source.head([path])


@pytest.mark.parametrize("columns", ["ratings", "items"])
def test_parquet_that_is_damaged_in_the_middle_is_refused_in_words(tmp_path, columns):
    path = tmp_path / "f.parquet"
    ids = [f"{n * 2654435761 % 2**32}" for n in range(2_000)]
    table = pa.table({"user_id": ids, "item_id": ids, "timestamp": [S] * 2_000})
    pq.write_table(table, path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[10:2_000] = bytes(1_990)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"f.parquet' must be whole Parquet.*Fetch it again"):
        read(path) if columns == "ratings" else source.head([str(path)])


COLUMNS = {
    "texts": (["u", "v"], ["x", "y"], [S, S + 1]),
    "numbers": ([7, 8], [90, 91], [S * 1000, S * 1000 + 250]),
    "floats of pandas": ([7.0, None], [90.0, 91.0], [float(S), S + 0.5]),
    "categories": (
        pa.array(["u", "v"]).dictionary_encode(),
        pa.array(["x", "y"]).dictionary_encode(),
        pa.array([S * 10**6, S * 10**6 + 1], pa.timestamp("us", "UTC")),
    ),
    "nanoseconds": (["u", "v"], ["x", "y"], pa.array([S * 10**9] * 2, pa.timestamp("ns"))),
    "dates": (
        pa.array(["u", "v"], pa.large_string()),
        ["x", "y"],
        pa.array([15_808] * 2, pa.date32()),
    ),
}
PARQUET = {
    "texts": [("u", "x", S), ("v", "y", S + 1)],
    "numbers": [("7", "90", S), ("8", "91", S + 0.25)],
    "floats of pandas": [("7", "90", S)],
    "categories": [("u", "x", S), ("v", "y", S + 1e-6)],
    "nanoseconds": [("u", "x", S), ("v", "y", S)],
    "dates": [("u", "x", 15_808 * 86_400), ("v", "y", 15_808 * 86_400)],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_parquet(tmp_path, name):
    user, item, time = COLUMNS[name]
    table = pa.table({"rating": [5, 4], "item_id": item, "user_id": user, "timestamp": time})
    path = str(tmp_path / "f.parquet")
    pq.write_table(table, path, row_group_size=1)
    events, bad, lines, unwanted = read(path, min_rating=1)
    assert events == PARQUET[name]
    assert [entry[:2] for entry in bad] == ([(1, "no user")] if name == "floats of pandas" else [])
    assert (lines, unwanted) == (2, 0)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (9780306406157.0, "9780306406157"),
        (1e10, "10000000000"),
        (-2.0, "-2"),
        (2.0**62, "4611686018427387904"),
        (1.5, "1.5"),
        (1e20, "1e+20"),
    ],
)
@pytest.mark.parametrize("beside", [7.0, 1.5, math.nan, math.inf, 1e300, None])
def test_a_float_of_parquet_is_the_same_id_whatever_stands_beside_it(
    tmp_path, number, text, beside
):
    path = str(tmp_path / "f.parquet")
    times, users = [S, S + 1], pa.array([number, beside], pa.float64())
    pq.write_table(pa.table({"user_id": users, "item_id": users, "timestamp": times}), path)
    assert (text, text, S) in read(path)[0]


def test_parquet_without_an_item_or_cut_off_is_refused(tmp_path):
    path = str(tmp_path / "f.parquet")
    pq.write_table(pa.table({"user_id": ["u"], "timestamp": [S]}), path)
    with pytest.raises(InputError, match="must have columns for a user, an item"):
        read(path)
    with pytest.raises(InputError, match="not a whole Parquet"):
        read(write(tmp_path / "cut", (tmp_path / "f.parquet").read_bytes()[:100]))


@pytest.mark.parametrize("module", ["ratings", "items"])
def test_code_in_a_parquet_file_is_not_run(tmp_path, module):
    """CVE-2023-47248, in a process that has not imported Beam, which holds the cure too."""
    run = f"cposix\nsystem\n(S'touch {tmp_path}/ran'\ntR."  # a pickle
    kind = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": run}
    fields = [("asin", pa.string()), ("user_id", pa.string()), ("timestamp", pa.int64())]
    schema = pa.schema([*map(pa.field, *zip(*fields, strict=True))])
    schema = schema.append(pa.field("code", pa.int64(), metadata=kind))
    pq.write_table(pa.table([["x"], ["u"], [S], [1]], schema=schema), tmp_path / "f.parquet")
    read_it = {
        "ratings": "from pipeline.ingest.sources import parquet as p; p.recognise({0!r}, '')",
        "items": "from pipeline.items import source as s; s.head([{0!r}])",
    }[module].format(str(tmp_path / "f.parquet"))
    subprocess.run([sys.executable, "-c", read_it], capture_output=True, check=False)
    assert not (tmp_path / "ran").exists()


def test_json_of_2014_and_2023(tmp_path):
    old = {"reviewerID": "U", "asin": "I", "overall": 5.0, "unixReviewTime": S, "helpful": [0, 1]}
    new = {"rating": 5, "title": 'a "b"\n', "asin": "V", "parent_asin": "I", "user_id": "U"}
    new["timestamp"] = S * 1000 + 7
    assert read(write(tmp_path / "a", json.dumps(old)))[0] == [("U", "I", S)]
    assert read(write(tmp_path / "b", "\ufeff" + json.dumps(new)))[0] == [("U", "I", S + 0.007)]


def test_json_numbers_are_ids_and_ratings_are_optional(tmp_path):
    rows = [(7, 12345678901234567890123), (0, "9"), ("a", 1.5)]
    text = "".join(json.dumps({"user": u, "item": i, "time": S}) + "\n" for u, i in rows)
    assert read(write(tmp_path / "f", text))[0] == sorted(
        [("7", "12345678901234567890123", S), ("0", "9", S), ("a", "1.5", S)]
    )


def test_a_first_line_longer_than_the_head(tmp_path):
    row = {"user_id": "u0", "parent_asin": "i0", "rating": 5, "timestamp": S, "text": "x" * 300_000}
    short = json.dumps({**row, "text": ""}) + "\n"
    events, _, lines, _ = read(write(tmp_path / "f", json.dumps(row) + "\n" + short * 3))
    assert (len(events), lines) == (4, 4)


def test_bad_json_lines(tmp_path):
    row = {"reviewerID": "U", "asin": "I", "overall": 5.0, "unixReviewTime": S}
    rows = [
        (json.dumps(row), None),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not a JSON object"),
        (json.dumps({**row, "asin": None}), "no item"),
        (json.dumps({**row, "asin": " null "}), "no item"),
        (json.dumps({k: v for k, v in row.items() if k != "unixReviewTime"}), "no time"),
        (json.dumps({**row, "overall": "good"}), "rating is no number"),
        (json.dumps({**row, "reviewerID": True}), "no user"),
        (json.dumps({**row, "reviewerID": ["U"]}), "no user"),
        (json.dumps({**row, "reviewerID": "\ud83d"}), "not JSON"),
        (json.dumps(row) * 2, "not JSON"),
    ]
    path = write(tmp_path / "f", "\n".join(line for line, _ in rows))
    for size in (300, 1 << 20):
        events, bad, lines, _ = read(path, range_bytes=size)
        assert (len(events), lines) == (1, len(rows))
        assert [reason for _, reason, _ in bad] == [reason for _, reason in rows if reason]
