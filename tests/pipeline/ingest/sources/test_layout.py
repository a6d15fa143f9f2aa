"""Which column is which: decided where ids cannot be both, asked for everywhere else."""

import itertools

import pytest

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.ingest.sources import reading
from tests.support.ratings_files import layout, read, write

S = 1_365_811_200
USERS = {
    "reviewer": lambda n: f"A{n:013X}",
    "reviewer of 2023": lambda n: f"AE{n:026X}",
    "u and number": lambda n: f"u{n}",
    "user_ and number": lambda n: f"user_{n}",
}
ITEMS = {
    "ASIN": lambda n: f"B0{n:08X}",
    "ISBN": lambda n: _isbn(n),
    "i and number": lambda n: f"i{n}",
    "item_ and number": lambda n: f"item_{n}",
}
EITHER = {
    "number": str,
    "ten digits": lambda n: str(1_000_000_000 + n),
    "thirteen digits": lambda n: str(9_780_000_000_000 + n),
    "hex": lambda n: f"{n * 2654435761 % 2**32:08x}",
    "id": lambda n: f"id{n}",
    "upc": lambda n: f"upc{n}",
    "email": lambda n: f"n{n}@example.org",
    "b and number": lambda n: f"b{n}",
    "letters": lambda n: f"Xy{n}Z",
}
SHAPES = {**USERS, **ITEMS, **EITHER}


def _isbn(number: int) -> str:
    digits = f"{number:09}"
    check = -sum(w * int(d) for w, d in zip(range(10, 1, -1), digits, strict=True)) % 11
    return digits + ("X" if check == 10 else str(check))


def table(first, second):
    return "".join(f"{first(n % 40)},{second(n * 7 % 90)},5.0,{S + n}\n" for n in range(120))


@pytest.mark.parametrize(("first", "second"), itertools.permutations(SHAPES, 2))
def test_no_pair_of_id_shapes_is_swapped(tmp_path, first, second):
    path = write(tmp_path / "f", table(SHAPES[first], SHAPES[second]))
    right = {"2014"} if first in USERS or second in ITEMS else set()
    right |= {"2018"} if first in ITEMS or second in USERS else set()
    try:
        found = {layout(path).kind}
    except InputError as error:
        found = set()
        message = str(error)
        assert "IMN_LAYOUT=2014" in message
    assert found <= right
    assert not found or len(right) == 1


@pytest.mark.parametrize(
    ("user", "item"),
    [("reviewer", "ASIN"), ("reviewer", "ISBN"), ("u and number", "i and number")],
)
def test_known_pairs_need_no_setting(tmp_path, user, item):
    assert layout(write(tmp_path / "a", table(SHAPES[user], SHAPES[item]))).kind == "2014"
    assert layout(write(tmp_path / "b", table(SHAPES[item], SHAPES[user]))).kind == "2018"


def test_a_layout_that_is_named_needs_no_known_ids(tmp_path):
    path = write(tmp_path / "f", table(str, str))
    assert layout(path, layout="2018").roles["user"] == "user"
    assert layout(path, layout="2018").position("user") == 1
    assert layout(path, layout="2014").position("user") == 0


def test_a_part_without_known_ids_follows_the_others(tmp_path):
    write(tmp_path / "in" / "a", table(USERS["reviewer"], ITEMS["ASIN"]))
    write(tmp_path / "in" / "b", f"someone,B000000001,5.0,{S}\n")
    events, _, _, _ = read(tmp_path / "in")
    assert ("someone", "B000000001", S) in events


NAMED = {
    "user=who,item=what,time=when": "who,what,stars,when\n",
    "user=WHO, item= what ,time=when,rating=stars": "who,what,stars,when\n",
    "user=1,item=2,time=4": "who,what,stars,when\n",
    "user=1,item=2,time=4,rating=3": "",
}


@pytest.mark.parametrize("columns", NAMED)
def test_columns_by_name_or_number(tmp_path, columns):
    path = write(tmp_path / "f", NAMED[columns] + f"7,8,2.0,{S}\n9,10,5.0,{S}\n")
    events, bad, lines, unwanted = read(path, min_rating=3, columns=columns)
    rated = "rating" in columns
    assert events == ([("9", "10", S)] if rated else [("7", "8", S), ("9", "10", S)])
    assert (bad, lines, unwanted) == ([], 2, int(rated))


def test_columns_by_name_in_json_and_any_separator(tmp_path):
    json = write(tmp_path / "j", f'{{"who": 7, "what": "8", "when": {S}}}\n')
    assert read(json, columns="user=who,item=what,time=when")[0] == [("7", "8", S)]
    for separator, given in (("^", "^"), ("\t", "tab"), ("||", "||"), (" ", "space")):
        path = write(tmp_path / "f", separator.join(("7", "8", str(S))) + "\n")
        events = read(path, columns="user=1,item=2,time=3", separator=given)[0]
        assert events == [("7", "8", S)]


REFUSED = {
    "user,item": "must be like user=uid",
    "user=1,item=2": "without time",
    "user=1,item=2,time=3,stars=4": "stars=4",
    "user=1,user=2,item=3,time=4": "user=2",
    "user=1,item=1,time=3": "different columns",
    "user=1,item=2,time=9": "'9' of the time does not exist",
    "user=who,item=what,time=at": "'who' of the user does not exist",
}


@pytest.mark.parametrize("columns", REFUSED)
def test_wrong_columns_are_refused(tmp_path, columns):
    path = write(tmp_path / "f", f"user,item,time\n7,8,{S}\n")
    with pytest.raises(InputError, match=REFUSED[columns]):
        read(path, columns=columns)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("user_id,item_id,rating,timestamp,timestamp", "'timestamp' 2 times"),
        ("user_id,item_id,rating,timestamp,Rating", "'rating' 2 times"),
        ("user_id,User_ID,item_id,timestamp,x", "'user_id' 2 times"),
        ("user_id,reviewerID,item_id,rating,timestamp", "must hold the user.*user_id, reviewerid"),
        ("user_id,item_id,product_id,rating,time", "must hold the item.*item_id, product_id"),
        ("who,what,stars,when,x", "Known names: user: user_id"),
    ],
)
def test_a_header_that_could_mean_two_things_is_refused(tmp_path, header, message):
    good = "".join(f"u{n},i{n},5.0,{S},{S + 9}\n" for n in range(50))
    for bad_line in ("", "garbage\n"):
        path = write(tmp_path / "f", f"{header}\n{good}{bad_line}{good}")
        with pytest.raises(InputError, match=message):
            read(path)


def test_both_asins_of_2023_mean_the_parent(tmp_path):
    path = write(tmp_path / "f", f"rating,asin,parent_asin,user_id,timestamp\n5,a,p,u,{S}000\n")
    assert read(path)[0] == [("u", "p", S)]


@pytest.mark.parametrize("text", ["", "\n\r\n \n", "\ufeff"])
def test_an_empty_file_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="empty"):
        read(write(tmp_path / "f", text))


@pytest.mark.parametrize(
    "head", ["who,what,stars,when\nU1,I1,5,1365811200\n", '{"a": 1}\n', "a,b\n"]
)
def test_other_heads_are_refused(tmp_path, head):
    with pytest.raises(InputError, match=r"f' must have"):
        read(write(tmp_path / "f", head))
    with pytest.raises(InputError, match="header"):
        read(write(tmp_path / "g", f"U1,I1,5.0,{S}\n"), layout="header")


@pytest.mark.parametrize(
    "other",
    [
        f"i2,u2,5.0,{S}\n" * 30,
        f"u2,i2,5.0,{S}000\n" * 30,
        f"u2;i2;5.0;{S}\n" * 30,
        f"user,item,rating,time\nu2,i2,5.0,{S}\n",
        "u2,i2,5.0,2014-01-01\n" * 30,
    ],
)
def test_files_that_disagree_are_refused_by_name(tmp_path, other):
    write(tmp_path / "in" / "a.csv", f"u1,i1,5.0,{S}\n" * 30)
    write(tmp_path / "in" / "b.csv", other)
    with pytest.raises(InputError, match=r"(?s)same columns and unit.*a\.csv.*b\.csv"):
        read(tmp_path / "in")


def test_a_run_says_what_it_reads(tmp_path):
    path = write(tmp_path / "in" / "a.csv", f"stars;uid;sku;at\n4;x;y;{S}000\n")
    write(tmp_path / "in" / "_SUCCESS", "")
    settings = Settings(ratings=str(tmp_path / "in"), columns="user=uid,item=sku,time=at")
    assert reading.describe(settings) == [
        f"Ratings: 1 file: {path}",
        f"  left out: {tmp_path / 'in' / '_SUCCESS'} (a marker)",
        "  layout header, separator semicolon: user 'uid' = 'x', item 'sku' = 'y', "
        f"time 'at' = '{S}000' (ms: 2013-04-13)",
    ]


@pytest.mark.parametrize(
    "rows", ["", "u,i,5,n/a\n", "u,i,5,\n", "u,i,5,inf\n", "u,i,5,0000-01-01\n"]
)
def test_a_file_without_a_row_that_can_be_read_is_refused_before_anything_runs(tmp_path, rows):
    (tmp_path / "r.csv").write_text("user_id,item_id,rating,timestamp\n" + rows)
    with pytest.raises(InputError, match="must have rows with a user, an item and a time"):
        reading.describe(Settings(ratings=str(tmp_path / "r.csv")))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("r.csv", "user_id,item_id,timestamp\nu,i,-99999999999999\n", "outside of the years"),
        ("r.jsonl", '{"user_id": "u", "item_id": "i", "timestamp": null}\n', "(s: no time)"),
        ("r.csv", "user_id,item_id,timestamp\nu,i,9999-12-31\n", "(iso: 9999-12-31)"),
    ],
)
def test_any_time_of_the_row_that_is_shown_can_be_said(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    assert says in reading.describe(Settings(ratings=str(tmp_path / name)))[-1]
