"""What the page finds: users, their histories, and items."""

import dataclasses
import threading

import numpy as np
import pytest

from pipeline.configs import Settings
from pipeline.errors import InputError
from recommend import user_history
from recommend.page_data import RatingsPageData
from recommend.user_index import UserIndex
from serving.errors import RequestError
from tests.support.raw_examples import DAY, NOW


@pytest.fixture(scope="module")
def settings(page_models):
    return Settings(ratings=str(page_models.parents[1] / "ratings.csv"))


@pytest.fixture(scope="module")
def data(page_models, settings):
    return RatingsPageData(str(page_models), settings)


def test_users_by_a_part_of_their_id(data):
    found = data.users("imn", 1, "ANN", 10)
    # Of the repeated line of ann one event stays in a history; here lines are counted.
    assert found == [{"user": "ann", "events": 4}, {"user": "Annabel", "events": 1}]
    assert [row["user"] for row in data.users("imn", 1, "", 2)] == ["ann", "bob"]
    assert data.users("imn", 1, "nobody", 10) == []
    assert {data.any_user("imn", 1)["user"] for _ in range(100)} == {"ann", "bob", "Annabel"}


def test_a_history_in_the_order_of_time(data):
    found = data.history("imn", 1, "ann")
    assert [(event["item"], event["time"]) for event in found["events"]] == [
        ("i001", NOW - 30 * DAY),
        ("i002", NOW - 20 * DAY),
        ("i003", NOW - 10 * DAY),
    ]
    assert found["newest"] == NOW
    assert found["rated"] == ["i001", "i002", "i003"]


def test_a_user_that_there_is_not(data):
    with pytest.raises(RequestError, match="'Ann' has no ratings") as refusal:
        data.history("imn", 1, "Ann")
    assert refusal.value.code.name == "NOT_FOUND"


def test_items_below_the_least_rating_are_rated_but_no_events(settings):
    index = UserIndex(dataclasses.replace(settings, min_rating=4.0), threading.Event())
    found = index.history("ann")
    assert found.items == [b"i001", b"i003"]
    assert found.rated == {b"i001", b"i002", b"i003"}
    assert index.newest == NOW  # that of a rating of 3
    # bob's 3 is no event, and he keeps one.
    assert index.users("bob", 5) == [("bob", 1)]


def test_the_index_gives_the_histories_of_the_file(tmp_path):
    """Random ratings with repeats, days with several events, and a field of the event."""
    rng = np.random.default_rng(3)
    rows = [
        f"u{rng.integers(9)},i{rng.integers(40)},{rng.integers(1, 6)},"
        f"{NOW - DAY * rng.integers(30)},{rng.choice(['buy', 'view'])}"
        for _ in range(400)
    ]
    (tmp_path / "ratings.csv").write_text("user,item,rating,timestamp,action\n" + "\n".join(rows))
    settings = Settings(
        ratings=str(tmp_path / "ratings.csv"), min_rating=2.0, event_fields="action"
    )
    index = UserIndex(settings, threading.Event())
    for user, events in index.users("", 20):
        found = index.history(user)
        assert found == user_history.read(settings, user)
        assert 0 < len(found.items) <= events
        assert set(found.values["history_action"]) <= {b"buy", b"view"}


def test_reading_ends_with_the_server(settings):
    stop = threading.Event()
    stop.set()
    with pytest.raises(InputError, match="stopping"):
        UserIndex(settings, stop)


def test_items_by_words_of_id_title_and_attributes(data):
    def found(query):
        return [row["item"] for row in data.search("imn", 1, query, 100)]

    assert set(found("shelf 3")) >= {f"i{number:03}" for number in range(3, 70, 7)}
    assert found("THING 33") == ["i033"]
    assert found("i033 shelf 5") == ["i033"]  # 33 = 4 * 7 + 5
    assert found("i033 shelf 4") == []
    assert found("i010") == ["i010"]
    assert len(data.search("imn", 1, "", 5)) == 5
    assert found("i065") == ["i065"]  # of the catalogue alone


def test_what_is_known_of_an_item(data):
    assert data.describe("imn", 1, ["i010", "i065", "elsewhere"]) == [
        {"item": "i010", "title": "Bold thing", "about": "Shelf 3", "known": True},
        {"item": "i065", "title": "Thing 65", "about": "Shelf 2", "known": False},
        {"item": "elsewhere", "title": "", "about": "", "known": False},
    ]
    items = data.frequent("imn", 1, 1000)
    assert set(items) == {f"i{number:03}" for number in range(60)}
    with open(f"{data._models}/imn/1/assets/item") as file:
        assert items[:3] == [file.readline().strip() for _ in range(3)]


def test_versions_of_the_same_ratings_share_an_index(data):
    assert data._index("imn", 1) is data._index("imn", 2)


def test_a_model_whose_ratings_are_unknown(page_models):
    data = RatingsPageData(str(page_models), Settings())
    with pytest.raises(RequestError, match="does not record the ratings") as refusal:
        data.users("imn", 1, "", 5)
    assert refusal.value.code.name == "NOT_FOUND"
    assert data.search("imn", 1, "thing 5", 1)  # items need no ratings
