"""The lines about what was read, from a report written by hand."""

import logging

from pipeline.ingest import summary
from pipeline.local import console
from pipeline.local.memory import PeakMemory

REPORT = {
    "lines": 1_010,
    "bad_lines": {"no user": {"lines": 6}, "time before 1995": {"lines": 2}},
    "below_min_rating": 0,
    "events": 1_000,
    "duplicates": 2,
    "first_day": "2010-01-01",
    "last_day": "2014-05-19",
    "users": 90,
    "largest_users": [(90, "a"), (80, "b")],
    "training_items": 300,
    "test_begins": "2014-02-01",
    "splits": {
        name: {"positives": count, "samples": 2 * count, "users": 40}
        for name, count in (("train", 600), ("eval", 90), ("test", 80))
    },
}


def test_two_lines_say_what_was_read():
    assert summary.lines(REPORT) == [
        "Read: 1,000 events of 90 users, 2010-01-01 to 2014-05-19; 300 items in training. "
        "Of 1,010 lines 8 are bad (no user 6, time before 1995 2), 2 repeated and 0 below "
        "`min_rating`.",
        "Samples: train 1,200 of 40 users, eval 180 of 40 users, test 160 of 40 users "
        "from 2014-02-01.",
    ]


def test_what_looks_wrong_is_said():
    (line,) = summary.lines(REPORT | {"largest_users": [(200, "-1"), (30, "b")]})[2:]
    assert line.startswith("Look: user '-1' has 20% of all events, the next one 3%.")
    (line,) = summary.lines(REPORT | {"test_begins": "2014-05-18"})[2:]
    assert line.startswith("Look: the test split covers 2 days only.")
    assert len(summary.lines(REPORT | {"test_begins": None})) == 2


def test_the_screen_shows_these_lines(capsys):
    progress = console.Progress(PeakMemory())
    shown = summary.lines(REPORT | {"largest_users": [(200, "-1"), (30, "b")]})
    for message in [*shown, "Reading other things."]:
        progress.emit(logging.LogRecord("absl", logging.INFO, "", 0, message, None, None))
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == shown
