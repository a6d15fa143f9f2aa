"""Rows of tables of items: quotes, lines that a record spans, headers, ids and several values."""

import gzip

import pytest

from pipeline.items import source
from tests.support.ratings_files import write


def read(path, range_bytes=1 << 20, block_bytes=1 << 20):
    """The good rows in order of their places, and the reasons of the bad ones."""
    parts = source.plan(str(path), range_bytes)[0]
    rows = [
        (part.number, place, row) for part in parts for place, row in source.read(part, block_bytes)
    ]
    rows.sort(key=lambda entry: entry[:2])
    good = [row for _, _, row in rows if isinstance(row, dict)]
    return good, [row for _, _, row in rows if isinstance(row, str)]


RECBOLE = "item_id:token\ttitle:token_seq\tclass:token_seq\n"


@pytest.mark.parametrize("header", [RECBOLE, "item_id\ttitle\tclass\n"])
@pytest.mark.parametrize("odd", ['"Weird Al', 'Vinyl 12"', '"Heroes" by Bowie', '"'])
@pytest.mark.parametrize("packed", [False, True])
def test_a_quote_between_tabs_is_a_character(tmp_path, header, odd, packed):
    rows = [f"i{n}\tTitle {n}\tc{n}\n" for n in range(1_000)]
    for n in (300, 301, 800):
        rows[n] = f"i{n}\t{odd}\tc{n}\n"
    text = (header + "".join(rows)).encode()
    path = write(tmp_path / "f.item", gzip.compress(text) if packed else text)
    for size in (5_000, 1 << 20):
        good, bad = read(path, size, size)
        assert bad == []
        assert [row["item_id"] for row in good] == [f"i{n}" for n in range(1_000)]
        assert [row["title"] for row in good[299:302]] == ["Title 299", odd, odd]
        expected = [f"c{n}" for n in range(1_000)]
        assert [row["class"] for row in good] == (
            [[name] for name in expected] if header == RECBOLE else expected
        )


def test_quotes_around_a_whole_cell_between_tabs_do_not_count(tmp_path):
    path = write(tmp_path / "f", '"item_id"\t"title"\n"i1"\t"a ""b"""\n"i2"\tc\n')
    rows = [{"item_id": "i1", "title": 'a "b"'}, {"item_id": "i2", "title": "c"}]
    assert read(path) == (rows, [])


@pytest.mark.parametrize("block_bytes", [300, 1 << 20])
@pytest.mark.parametrize("separator", [",", ";"])
def test_a_stray_quote_costs_its_own_row_which_is_counted(tmp_path, separator, block_bytes):
    rows = [["item_id", "title", "class"], *([f"i{n}", "t", f"c{n}"] for n in range(3_000))]
    rows[301][1] = rows[901][1] = '"Weird Al'  # closed by nothing, or by what opens another
    rows[2_001][1] = '"never closed'
    text = "\n".join(separator.join(row) for row in rows)
    good, bad = read(write(tmp_path / "f", text), block_bytes=block_bytes)
    assert bad == ["quotes that do not match"] * 3
    assert [row["class"] for row in good] == [
        f"c{n}" for n in range(3_000) if n not in (300, 900, 2_000)
    ]


def test_lines_beyond_those_that_a_record_may_span_are_bad(tmp_path):
    text = "".join(f"i{n},x,c\n" for n in range(3))
    long = 'i9,"' + "line\n" * 1_500 + '",c\n'
    good, bad = read(write(tmp_path / "f", "item_id,title,class\n" + text + long + text))
    assert len(good) == 6
    assert len(bad) == 1_501
    short = 'i9,"' + "line\n" * 500 + '",c\n'
    good, bad = read(write(tmp_path / "g", "item_id,title,class\n" + text + short + text))
    assert (len(good), bad) == (7, [])
    assert good[3] == {"item_id": "i9", "title": "line\n" * 500, "class": "c"}


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("before", ["", "\n", "\ufeff", "\r\n \r\n"])
def test_the_header_is_the_first_row_that_is_not_blank(tmp_path, before, separator):
    text = before + "item_id,title\r\ni1,a\r\n\r\n,\r\ni2,b".replace(",", separator)
    good, bad = read(write(tmp_path / "f", text))
    assert good == [{"item_id": "i1", "title": "a"}, {"item_id": "i2", "title": "b"}]
    assert bad == []


@pytest.mark.parametrize(
    ("name", "cell", "value"),
    [
        ("item_id", "A|1", "A|1"),
        ("ASIN", "A|1", "A|1"),
        ("title", "Alien | Director's cut", "Alien | Director's cut"),
        ("movie_title:token_seq", "Toy Story", "Toy Story"),
        ("genre", "A|1", ["A", "1"]),
        ("genre:token_seq", "A 1", ["A", "1"]),
        ("genre", "A", "A"),
    ],
)
def test_ids_and_titles_are_one_value(tmp_path, name, cell, value):
    path = write(tmp_path / "f", f"x\t{name}\n1\t{cell}\n")
    assert read(path) == ([{"x": "1", name.split(":")[0]: value}], [])


def test_rows_that_are_none_have_a_reason(tmp_path):
    text = b"item_id,class\ni1,a\ni2\ni3,\xff\ni4,\0\ni5,b,c\ni6,d\n"
    good, bad = read(write(tmp_path / "f", text))
    assert [row["item_id"] for row in good] == ["i1", "i6"]
    fields = "wrong number of fields"
    assert sorted(bad) == sorted([fields, "not UTF-8", "a NUL byte", fields])
