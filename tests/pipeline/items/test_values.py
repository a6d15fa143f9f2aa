"""Raw values of catalogues, by a table of cases."""

import pytest

from pipeline.items import values


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("$12.99", 12.99),
        ("12.99", 12.99),
        (12.99, 12.99),
        (3, 3.0),
        ("$1,299.00", 1299.0),
        ("$12.99 - $15.00", 12.99),
        ("from 7.50", 7.5),
        ("12.99 USD", 12.99),
        ("€5", 5.0),
        (["$2.50"], 2.5),
        ("-1.5", -1.5),
        (" 4 ", 4.0),
        (None, None),
        ("", None),
        ("None", None),
        (float("nan"), None),
        ([], None),
    ],
)
def test_numbers(raw, expected):
    assert values.number(raw) == (expected, "")


@pytest.mark.parametrize(
    "raw",
    ["cheap", ".a-box-inner{background-color:#fff} 12", "1 2 3", ["1", "2"], {"a": 1}, "12 pieces"],
)
def test_what_is_no_number(raw):
    value, reason = values.number(raw)
    assert value is None
    assert reason


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Beauty", ["Beauty"]),
        (["Beauty", "Hair", "Beauty"], ["Beauty", "Hair"]),
        ([["A", "B"], ["A", "C"]], ["A", "B", "C"]),
        ("Salt &amp; Pepper", ["Salt & Pepper"]),
        ("<b>Bold</b> name", ["Bold name"]),
        ("<span>\n x </span>", ["x"]),
        ("<style>.a{b:c}</style>ACME", ["ACME"]),
        (" two\nlines ", ["two lines"]),
        (7, ["7"]),
        (7.0, ["7"]),
        (True, ["True"]),
        (b"bytes", ["bytes"]),
        (None, []),
        ("", []),
        ("N/A", []),
        ([None, "", "x"], ["x"]),
    ],
)
def test_categories(raw, expected):
    assert values.categories(raw) == (expected, "")


def test_what_is_no_category():
    assert values.categories(["x" * 201, "short"]) == (
        ["short"],
        "a text of more than 200 characters",
    )
    assert values.categories({"a": 1}) == ([], "an object, not a text")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("0132793040", "0132793040"),
        (" B1\u00a0", "B1"),
        ("a&amp;b  <c>", "a&amp;b  <c>"),
        (7, "7"),
        (7.0, "7"),
        (b"B1", "B1"),
        (None, ""),
        ("null", ""),
        (["B1"], ""),
        (True, ""),
    ],
)
def test_an_id_is_what_the_ratings_have(raw, expected):
    assert values.item_id(raw) == expected
