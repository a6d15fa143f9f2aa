"""Choices on the page that overtake each other, and addresses that somebody has typed."""

import re

import pytest

from tests.recommend.test_page import (  # noqa: F401
    HISTORY,
    MILLISECONDS,
    browser,
    change,
    opened,
    pytestmark,
    server,
)
from tests.support.raw_examples import NOW

OF_ANN = re.compile(r"/imn/user\?.*id=ann$")


def shown_events(page):
    return sorted(row.get_attribute("data-item") for row in page.locator("#events li").all())


def choose(page, user):
    page.fill("#user", user)
    page.locator("#user-options li", has_text=re.compile(rf"^{user} ")).click()


@pytest.mark.parametrize(
    ("then", "events", "status"),
    [
        (lambda page: choose(page, "bob"), ["i005", "i040"], "bob"),
        (lambda page: page.click("#empty"), [], ""),
    ],
)
def test_a_slower_answer_for_the_user_before_is_dropped(
    opened,  # noqa: F811
    then,
    events,
    status,
):
    page = opened("model=imn/1&user=Annabel")
    held = []
    page.route(OF_ANN, lambda route: held.append(route))
    with page.expect_request(OF_ANN, timeout=MILLISECONDS):
        choose(page, "ann")
    change(page, lambda: then(page))
    assert shown_events(page) == events
    with page.expect_response(OF_ANN, timeout=MILLISECONDS):
        held[0].continue_()
    change(page, lambda: page.click("#newest"))  # a ranking of what is chosen by now
    assert shown_events(page) == events
    assert page.inner_text("#user-status") == status


def test_any_user_does_not_replace_one_that_was_chosen_after(opened):  # noqa: F811
    page = opened("model=imn/1&user=Annabel")
    any_user, held = re.compile(r"/imn/users\?.*any=1"), []
    page.route(any_user, lambda route: held.append(route))
    with page.expect_request(any_user, timeout=MILLISECONDS):
        page.click("#any")
    change(page, lambda: choose(page, "bob"))
    with page.expect_response(any_user, timeout=MILLISECONDS):
        held[0].fulfill(json=[{"user": "ann", "events": 3}])
    change(page, lambda: page.click("#newest"))
    assert shown_events(page) == ["i005", "i040"]


def test_a_user_that_these_ratings_do_not_have_is_said_beside_a_ranking(opened):  # noqa: F811
    page = opened("model=imn/1&user=nobody")  # waits for the ranking
    assert "'nobody' has no ratings" in page.inner_text("#user-status")
    assert shown_events(page) == []
    page.wait_for_selector("#user:enabled")
    change(page, lambda: choose(page, "ann"))
    assert shown_events(page) == HISTORY
    page.faults[:] = [fault for fault in page.faults if "status of 404" not in fault]


@pytest.mark.parametrize("at", ["foo", "2026-13-01", ""])
def test_a_time_that_is_none_is_ignored(opened, at):  # noqa: F811
    page = opened(f"model=imn/1&user=ann&at={at}")
    page.wait_for_selector("#rankings:not([aria-busy])")
    day = page.evaluate("at => new Date(at * 1000).toISOString().slice(0, 10)", NOW)
    assert page.input_value("#at") == day
    assert page.locator("#problem").is_hidden()


def test_the_time_of_an_address_is_used(opened):  # noqa: F811
    page = opened("model=imn/1&user=ann&at=2013-02-03")
    page.wait_for_selector('#summary:has-text("0 used")')
    assert page.input_value("#at") == "2013-02-03"
