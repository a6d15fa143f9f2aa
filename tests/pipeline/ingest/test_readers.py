"""Layouts and bad lines, by files written by hand."""

import gzip
import json
import random

import pytest

from pipeline.errors import InputError
from pipeline.ingest import files, formats, readers

NOW = 1_700_000_000
GOOD = [
    (b"A1B2C3D4E5", b"B000000001", 1_365_811_200),
    (b"A9999999ZZ", b"0132793040", 1_341_100_800),
]


def read(path, layout="auto", range_bytes=1 << 20, min_rating=0.0, block_bytes=1 << 20):
    """Events (sorted), lines, unwanted ones and bad ones of a file."""
    ranges, _ = files.plan([str(path)], layout, range_bytes)
    parsed = [
        readers.parse(part, block, min_rating, NOW)
        for part in ranges
        for block in files.read_blocks(part, block_bytes)
    ]
    events = [tuple(row.values()) for p in parsed for row in p.events.to_pylist()]
    bad = [entry for p in parsed for entry in p.bad]
    return sorted(events), sum(p.lines for p in parsed), sum(p.unwanted for p in parsed), bad


def write(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


U, V = "A1B2C3D4E5", "A9999999ZZ"
X, Y = "B000000001", "0132793040"
S, T = 1_365_811_200, 1_341_100_800
LAYOUTS = {
    "2014": f"{U},{X},5.0,{S}\n{V},{Y},1.0,{T}\n",
    "2018": f"{X},{U},5.0,{S}\n{Y},{V},1.0,{T}\n",
    "header": f"UserId,ItemId,rating,timestamp\n{U},{X},5,{S}\n{V},{Y},1,{T}\n",
    "header, milliseconds": "user_id,parent_asin,rating,timestamp\n"
    f"{U},{X},5.0,{S}123\n{V},{Y},1.0,{T}999\n",
    "header, tabs, other order": "time\tasin\tx\tOverall\treviewerID\n"
    f"{S}\t{X}\t,\t5\t{U}\n{T}\t{Y}\t\t1\t{V}",
    "header, quoted": f'user,item,rating,time\n"{U}","{X}",5,{S}\n"{V}",{Y},1,{T}\n',
    "header, no rating": f"user,item,time\n{U},{X},{S}\n{V},{Y},{T}\n",
    "mark, carriage returns, blank lines": f"\ufeff\r\n{U},{X},5.0,{S}\r\n\r\n{V},{Y},1.0,{T}\r\n",
    "mark at the first line": f"\ufeff{U},{X},5.0,{S}\n{V},{Y},1.0,{T}",
    "no newline at the end": f"{U},{X},5.0,{S}\n{V},{Y},1.0,{T}",
    "json of 2014": "".join(
        json.dumps(
            {"reviewerID": u, "asin": i, "overall": 5.0, "unixReviewTime": s, "helpful": [0, 1]}
        )
        + "\n"
        for u, i, s in ((U, X, S), (V, Y, T))
    ),
    "json of 2023": "".join(
        json.dumps(
            {
                "rating": 5,
                "title": 'a "b"\n',
                "asin": "B00000000X",
                "parent_asin": i,
                "user_id": u,
                "timestamp": s * 1000 + 7,
            }
        )
        + "\n"
        for u, i, s in ((U, X, S), (V, Y, T))
    ),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("range_bytes", [7, 1 << 20])
def test_layouts(tmp_path, name, packed, range_bytes):
    text = LAYOUTS[name].encode()
    path = write(tmp_path / "ratings", gzip.compress(text) if packed else text)
    if b"\xef\xbb\xbf\r\n" in text and range_bytes == 7 and not packed:
        range_bytes = 20  # the blank first line holds nothing, but the mark
    events, lines, unwanted, bad = read(path, range_bytes=range_bytes, block_bytes=range_bytes + 20)
    assert events == sorted(GOOD)
    assert (lines, unwanted, bad) == (2, 0, [])


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("U1,I1,5.0,", "2014"),
        ("i7,u3,5.0,", "2018"),
        ("U6b1b389c75,0738900370,5.0,", "2014"),
        ("0738900370,somebody,5.0,", "2018"),
        ("A1B2C3D4E5,thing,5.0,", "2014"),
    ],
)
def test_ids_tell_the_layout(first, expected):
    assert formats.recognise("f", f"{first}{S}\n".encode()).kind == expected


@pytest.mark.parametrize("ids", ["17,18", "B000000001,B000000002", "A1B2C3D4E5,A1B2C3D4E6"])
def test_a_layout_that_cannot_be_told_is_refused_unless_named(ids):
    line = f"{ids},5.0,{S}\n".encode()
    with pytest.raises(InputError, match="IMN_LAYOUT=2014"):
        formats.recognise("f", line)
    assert formats.recognise("f", line, "2018").roles == {r: r for r in formats._NAMES}
    assert formats.recognise("f", line, "2018").columns[0] == formats.ITEM


@pytest.mark.parametrize("text", ["", "\n\r\n \n", "\ufeff"])
def test_an_empty_file_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="empty"):
        files.plan([str(write(tmp_path / "f", text))], "auto")


def test_other_heads_are_refused():
    for head in ("who,what,stars,when\nU1,I1,5,1365811200\n", '{"a": 1}\n', "a,b\n"):
        with pytest.raises(InputError, match="f"):
            formats.recognise("f", head.encode())
    with pytest.raises(InputError, match="header"):
        formats.recognise("f", f"U1,I1,5.0,{S}\n".encode(), "header")


@pytest.mark.parametrize("content", [b"PK\x03\x04\x14\0\0\0", f"U1,I1,5,{S}\n".encode("utf-16")])
def test_archives_and_other_encodings_are_named(tmp_path, content):
    (tmp_path / "ratings").write_bytes(content)
    with pytest.raises(InputError, match=r"UTF-8 text, plain or gzip\. .*ratings' is neither"):
        files.plan([str(tmp_path / "ratings")], "auto")


def test_a_head_that_is_no_table_is_refused():
    with pytest.raises(InputError, match="first lines of 'f' cannot be read as columns"):
        formats.recognise("f", b"user_id,item_id,text,timestamp\nU1,I1," + b"x" * 200_000 + b",1\n")


BAD = {
    b"U1,I1,5.0": "wrong number of fields",
    b"U1,I1,5.0,1365811200,x": "wrong number of fields",
    b'U1,"I1,5.0,1365811200': "wrong number of fields",
    b"U1,I1,five,1365811200": "rating is no number",
    b"U1,I1,,1365811200": "rating is no number",
    b"U1,I1,nan,1365811200": "rating is no number",
    b"U1,I1,5.0,": "no time",
    b"U1,I1,5.0,yesterday": "time is no whole number",
    b"U1,I1,5.0,1365811200.5": "time is no whole number",
    b"U1,I1,5.0,700000000": "time before 1995",
    b"U1,I1,5.0,1700100000": "time in the future",
    b",I1,5.0,1365811200": "no user",
    b"U1,,5.0,1365811200": "no item",
    b"U\xff1,I1,5.0,1365811200": "not UTF-8",
}


@pytest.mark.parametrize("line", BAD)
@pytest.mark.parametrize("packed", [False, True])
def test_bad_lines_have_a_reason_and_a_place(tmp_path, line, packed):
    good = b"U1,I1,5.0,1365811200\n"
    text = good * 3 + b"\n" + line + b"\n" + good * 2
    path = write(tmp_path / "f", gzip.compress(text) if packed else text)
    events, lines, _, bad = read(path)
    assert len(events) == 5
    assert lines == 6
    ((place, reason, shown),) = bad
    assert reason == BAD[line]
    assert place == (5 if packed else 3 * len(good) + 1)
    assert shown == line.decode("utf-8", "backslashreplace")


def test_bad_json_lines(tmp_path):
    row = {"reviewerID": "U", "asin": "I", "overall": 5.0, "unixReviewTime": S}
    rows = [
        (json.dumps(row), None),
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        (json.dumps({**row, "asin": None}), "no item"),
        (json.dumps({k: v for k, v in row.items() if k != "unixReviewTime"}), "no time"),
        (json.dumps({**row, "overall": "good"}), "rating is no number"),
        (json.dumps({**row, "reviewerID": 7}), "no user"),
        (json.dumps(row) * 2, "not JSON"),
    ]
    events, lines, _, bad = read(write(tmp_path / "f", "\n".join(line for line, _ in rows)))
    assert len(events) == 1
    assert lines == len(rows)
    assert [reason for _, reason, _ in bad] == [reason for _, reason in rows if reason]


@pytest.mark.parametrize("seed", range(3))
def test_whole_blocks_and_single_lines_agree(tmp_path, seed, monkeypatch):
    chance = random.Random(seed)
    bad_lines = list(BAD)
    rows = []
    for number in range(3_000):
        rows.append(f"U{number % 50},I{number},{number % 5 + 1}.0,{S + number}".encode())
        if chance.random() < 0.01:
            rows.append(chance.choice([*bad_lines, b"", b"\r"]))
    path = write(tmp_path / "f", b"\n".join(rows))
    monkeypatch.setattr(readers, "_LINE_BY_LINE", 16)
    halved = read(path, min_rating=3)
    assert len(halved[3]) > 5
    assert len(halved[0]) == 1800
    monkeypatch.setattr(readers, "_parse_whole", lambda *_: None)
    assert read(path, min_rating=3) == halved
    monkeypatch.undo()
    events, lines, unwanted, bad = read(path, min_rating=3, range_bytes=999)
    assert (events, lines, unwanted, sorted(bad)) == (*halved[:3], sorted(halved[3]))


def test_a_clean_block_is_never_read_line_by_line(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "_parse_line", None)
    assert len(read(write(tmp_path / "f", LAYOUTS["json of 2023"]))[0]) == 2
    assert len(read(write(tmp_path / "f", LAYOUTS["2018"]))[0]) == 2


def test_a_cut_gzip_file_is_refused(tmp_path):
    rows = "".join(f"U{n},I{n * 7919 % 10_007},5.0,{S + n}\n" for n in range(100_000))
    packed = gzip.compress(rows.encode())
    path = write(tmp_path / "f", packed[: len(packed) // 2])
    with pytest.raises(InputError, match="gzip"):
        read(path)
    with pytest.raises(InputError, match="gzip"):
        read(write(tmp_path / "g", packed[:30]))


def test_missing_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="nothing"):
        files.list_files(str(tmp_path / "nothing*.csv"))
    with pytest.raises(InputError, match="file"):
        files.list_files(str(tmp_path))


def test_digest_goes_by_content(tmp_path):
    path = write(tmp_path / "f", "U1,I1,5.0,1365811200\n")
    before = files.digest([str(path)])
    path.touch()
    assert files.digest([str(path)]) == before
    write(path, "U1,I1,5.0,1365811201\n")
    assert files.digest([str(path)]) != before
