"""Rows and bad lines of delimited text, by files written by hand and by random odd lines."""

import gzip
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from tests.support.ratings_files import read, write

U, V = "A1B2C3D4E5", "A9999999ZZ"
X, Y = "B000000001", "0132793040"
S, T = 1_365_811_200, 1_341_100_800
GOOD = [(U, X, S), (V, Y, T)]
TABLES = {
    "2014": f"{U},{X},5.0,{S}\n{V},{Y},1.0,{T}\n",
    "2018": f"{X},{U},5.0,{S}\n{Y},{V},1.0,{T}\n",
    "header": f"UserId,ItemId,rating,timestamp\n{U},{X},5,{S}\n{V},{Y},1,{T}\n",
    "header, tabs, other order": "time\tasin\tx\tOverall\treviewerID\n"
    f"{S}\t{X}\t,\t5\t{U}\n{T}\t{Y}\t\t1\t{V}",
    "header, quoted": f'user,item,rating,time\n"{U}","{X}",5,{S}\n"{V}",{Y},1,{T}\n',
    "header, blanks": f'user, item, rating, time\n{U}, {X}, 5, {S}\n "{V}", \ufeff{Y} ,1,{T}\n',
    "header, no rating": f"user,item,time\n{U},{X},{S}\n{V},{Y},{T}\n",
    "mark, carriage returns, blank lines": f"\ufeff\r\n{U},{X},5.0,{S}\r\n\r\n{V},{Y},1.0,{T}\r\n",
    "mark at the first line": f"\ufeff{U},{X},5.0,{S}\n{V},{Y},1.0,{T}",
    "mark at every line": f"\ufeff{U},{X},5.0,{S}\n\ufeff{V},{Y},1.0,{T}",
    "no newline at the end": f"{U},{X},5.0,{S}\n{V},{Y},1.0,{T}",
    "MovieLens, two colons": f"{U}::{X}::5::{S}\n{V}::{Y}::1::{T}\n",
    "RecBole, types": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    f"{U}\t{X}\t5\t{S}\n{V}\t{Y}\t1\t{T}.0\n",
    "Kaggle": "Id,ProductId,UserId,ProfileName,Score,Time,Text\n"
    f'1,{X},{U},"a ""b"", c",5,{S},"x\n{V},{Y},1.0,{T},,,"\n2,{Y},{V},d,1,{T},<br>\n',
    "pandas' index": f",user_id,item_id,rating,timestamp\n0,{U},{X},5,{S}\n1,{V},{Y},1,{T}\n",
    "semicolons": f"user_id;product_id;rating;timestamp\n{U};{X};5;{S}\n{V};{Y};1;{T}\n",
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("size", [7, 1 << 20])
def test_tables(tmp_path, name, packed, size):
    text = TABLES[name].encode()
    path = write(tmp_path / "ratings", gzip.compress(text) if packed else text)
    assert read(path, range_bytes=size, block_bytes=size + 20) == (sorted(GOOD), [], 2, 0)


BAD = {
    b"U1,I1,5.0": "wrong number of fields",
    b"U1,I1,5.0,1365811200,x": "wrong number of fields",
    b'U1,"I1,5.0,1365811200': "quotes that do not match",
    b'U1,"I1"x,5.0,1365811200': "quotes that do not match",
    b'U1,I"1,5.0,1365811200': "quotes that do not match",
    b'1",I1,5.0,1365811200': "quotes that do not match",
    b"U1,I1,five,1365811200": "rating is no number",
    b"U1,I1,,1365811200": "rating is no number",
    b"U1,I1,nan,1365811200": "rating is no number",
    b"U1,I1,0x5,1365811200": "rating is no number",
    b"U1,I1,1e999,1365811200": "rating is no number",
    b"U1,I1,5.0,": "no time",
    b"U1,I1,5.0,null": "no time",
    b"U1,I1,5.0,yesterday": "time is no number and no ISO 8601 date",
    b"U1,I1,5.0,0x5169F000": "time is no number and no ISO 8601 date",
    b"U1,I1,5.0,2013-02-30": "time is no number and no ISO 8601 date",
    b"U1,I1,5.0,700000000": "time before 1995",
    b"U1,I1,5.0,1365811200000": "time in the future",
    b"U1,I1,5.0,99999999999999999999": "time in the future",
    b"U1,I1,5.0,1700100000": "time in the future",
    b",I1,5.0,1365811200": "no user",
    b" \t,I1,5.0,1365811200": "no user",
    b"\\N,I1,5.0,1365811200": "no user",
    b"<NA>,I1,5.0,1365811200": "no user",
    b'"",I1,5.0,1365811200': "no user",
    b"U1,,5.0,1365811200": "no item",
    b"U1,NaN,5.0,1365811200": "no item",
    b"U1,None,5.0,1365811200": "no item",
    b"U1," + b"I" * 2_000 + b",5.0,1365811200": "item longer than 1024 bytes",
    b"U" * 200_000 + b",I1,5.0,1365811200": "user longer than 1024 bytes",
    b'"' + b"U" * 200_000 + b'",I1,5.0,1365811200': "user longer than 1024 bytes",
    b"U\xff1,I1,5.0,1365811200": "not UTF-8",
    b"U\x001,I1,5.0,1365811200": "a NUL byte",
    b'"U\x001",I1,5.0,1365811200': "a NUL byte",
}
ODD_BUT_GOOD = {
    b'"U1" , "I1",5,1365811200': ("U1", "I1", 1_365_811_200),
    b"\xef\xbb\xbfU1,\xc2\xa0I1,.5,1365811200.25": ("U1", "I1", 1_365_811_200.25),
    b'"U,1","I1",5.,1365811200': ("U,1", "I1", 1_365_811_200),
    b"U1,I'1,+5e0,2013-04-13T02:00:00.5+02:00": ("U1", "I'1", 1_365_811_200.5),
    "Ü1,日本,5,2013-04-13\r".encode(): ("Ü1", "日本", 1_365_811_200),
}


@pytest.mark.parametrize("line", BAD)
@pytest.mark.parametrize("packed", [False, True])
def test_bad_lines_have_a_reason_and_a_place(tmp_path, line, packed):
    good = b"U1,I1,5.0,1365811200\n"
    text = good * 3 + b"\n" + line + b"\n" + good * 2
    path = write(tmp_path / "f", gzip.compress(text) if packed else text)
    events, ((place, reason, shown),), lines, _ = read(path, layout="2014")
    assert (len(events), lines) == (5, 6)
    assert reason == BAD[line]
    assert place == (5 if packed else 3 * len(good) + 1)
    assert shown == line.decode("utf-8", "backslashreplace")[:200]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.sampled_from([*BAD, *ODD_BUT_GOOD, b"good", b"", b"\r"]), max_size=25),
    st.integers(20, 400),
    st.integers(20, 400),
    st.booleans(),
)
def test_what_becomes_of_a_line_does_not_depend_on_its_neighbours(
    tmp_path, lines, range_bytes, block_bytes, packed
):
    usual = len(lines) + 3  # more than half, so that the unit of time is seconds
    rows = [b"U0,I0,5.0,1365811200"] * usual
    expected, bad = [("U0", "I0", 1_365_811_200)] * usual, []
    for number, line in enumerate(lines):
        if line == b"good":
            rows.append(b"U%d,I%d,4.0,%d" % (number, number, S + number))
            expected.append((f"U{number}", f"I{number}", S + number))
        else:
            rows.append(line)
            expected += [ODD_BUT_GOOD[line]] if line in ODD_BUT_GOOD else []
            bad += [BAD[line]] if line in BAD else []
    text = b"\n".join(rows)
    path = write(tmp_path / "f", gzip.compress(text) if packed else text)
    events, found, count, _ = read(
        path, range_bytes=range_bytes, block_bytes=block_bytes, layout="2014"
    )
    assert events == sorted(expected)
    assert sorted(reason for _, reason, _ in found) == sorted(bad)
    assert count == len(expected) + len(bad)


def reviews(*texts: str) -> str:
    lines = [f'u{n},i{n},5,{S + n},"{text}"\n' for n, text in enumerate(texts)]
    return "user_id,item_id,rating,timestamp,text\n" + "".join(lines)


@pytest.mark.parametrize("block_bytes", [30, 100, 1 << 20])
@pytest.mark.parametrize("packed", [False, True])
def test_a_text_may_span_lines(tmp_path, block_bytes, packed):
    injected = f"line\n\nu9,i9,5,{S},\nu8,i8,5,{S},x\n"
    text = reviews("ok", injected, "two quotes", 'a ""b""\nc', "", "last\n").encode()
    path = write(tmp_path / "f", gzip.compress(text) if packed else text)
    events, bad, lines, _ = read(path, range_bytes=64, block_bytes=block_bytes)
    assert events == [(f"u{n}", f"i{n}", S + n) for n in range(6)]
    assert (bad, lines) == ([], 6)


@pytest.mark.parametrize("block_bytes", [200, 1 << 20])
def test_a_quote_that_never_closes_costs_its_own_line_alone(tmp_path, block_bytes):
    text = reviews(*("fine" for _ in range(40))).replace('"fine"', '"open', 1)
    events, ((_, reason, _),), lines, _ = read(write(tmp_path / "f", text), block_bytes=block_bytes)
    assert reason == "quotes that do not match"
    assert (len(events), lines) == (39, 40)
    # The same where no other line has quotes, over more lines than a text may have.
    text = reviews("open", *("" for _ in range(3_000))).replace('"open"', '"open').replace('""', "")
    events, bad, lines, _ = read(write(tmp_path / "g", text), block_bytes=block_bytes)
    assert (len(events), len(bad), lines) == (3_000, 1, 3_001)


@pytest.mark.parametrize("title", ['"Weird Al', 'Vinyl 12"', '"Heroes" by', '"'])
def test_a_quote_between_tabs_that_does_not_match_is_a_character(tmp_path, title):
    rows = [f"u{n}\ti{n}\t5\t{S}\t{title if n == 3 else 'x'}\n" for n in range(9)]
    rows[6] = f'"u6\ti6\t5\t{S}\tx\n'  # but of no id
    text = "user_id\titem_id\trating\ttimestamp\ttitle\n" + "".join(rows)
    events, bad, lines, _ = read(write(tmp_path / "f", text), block_bytes=60)
    assert [event[0] for event in events] == [f"u{n}" for n in range(9) if n != 6]
    assert [reason for _, reason, _ in bad] == ["quotes that do not match"]
    assert lines == 9


def test_ids_never_span_lines(tmp_path):
    text = reviews("a", "b").replace("u1", '"u\n1"')
    events, bad, _, _ = read(write(tmp_path / "f", text))
    assert [event[0] for event in events] == ["u0"]
    assert len(bad) == 1
    # In a file of nothing but ratings no field does.
    text = f'U2,I2,5,{S}\nU1,"I\n1",5,{S}\n"U\n1",I1,5,{S}\n'
    events, bad, _, _ = read(write(tmp_path / "g", text), layout="2014")
    assert [event[0] for event in events] == ["U2"]
    assert len(bad) == 4


@pytest.mark.parametrize("range_bytes", [50, 1 << 20])
def test_joined_files(tmp_path, range_bytes):
    header, rows = "user,item,rating,time\n", f"U1,I1,5,{S}\n" * 3
    same = write(tmp_path / "same", (header + rows) * 2)
    events, bad, lines, _ = read(same, range_bytes=range_bytes)
    assert (len(events), bad, lines) == (6, [], 6)
    plain = write(tmp_path / "plain", rows + header + rows)
    assert read(plain, range_bytes=range_bytes)[1:3] == ([], 6)
    for other in ("item,user,rating,time\n", "user,item,time\n"):
        path = write(tmp_path / "other", header + rows + other + rows)
        with pytest.raises(InputError, match=r"other near line 5: .*header with other columns"):
            read(path, range_bytes=range_bytes)
    far = write(tmp_path / "far", header + rows * 1_000 + other + rows)
    with pytest.raises(InputError, match=r"far at offset .*header with other columns"):
        read(far, range_bytes=max(range_bytes, 5_000))


def test_ratings_below_the_least_are_counted(tmp_path):
    rows = "".join(f"U{n},I{n},{n % 5 + 1}.0,{S + n}\n" for n in range(10))
    events, _, lines, unwanted = read(write(tmp_path / "f", rows), min_rating=3)
    assert (len(events), lines, unwanted) == (6, 10, 4)


def test_a_long_id_costs_what_its_bytes_cost(tmp_path, monkeypatch):
    rows = [f"U{n},I{n},5,{S}" for n in range(1_000)]
    rows.insert(500, "U" * (8 << 20) + f",I,5,{S}")
    random.Random(0).shuffle(rows)
    events, bad, _, _ = read(write(tmp_path / "f", "\n".join(rows)), layout="2014")
    assert (len(events), len(bad), len(bad[0][2])) == (1_000, 1, 200)
