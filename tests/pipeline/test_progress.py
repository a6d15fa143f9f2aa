"""The line of a long component, from the rows of several processes."""

import concurrent.futures
import io
import multiprocessing
import pickle
import re
import time

import pytest

from pipeline import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def fast(monkeypatch):
    for name, seconds in (("_QUIET", 0.02), ("_EVERY", 0.02), ("_LINES", 0.02)):
        monkeypatch.setattr(progress, name, seconds)


def wait_for(screen, text):
    for _ in range(200):
        if text in screen.getvalue():
            return
        time.sleep(0.02)
    raise AssertionError(screen.getvalue())


def test_rows_of_threads_and_processes_are_added_up():
    with progress.Progress("Transform", 1_000) as counted:
        copy = pickle.loads(pickle.dumps(counted.advance))
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            list(threads.map(copy, [3] * 100))
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(2, context) as processes:
            list(processes.map(counted.advance, [5] * 10))
        assert counted.done() == 350


def test_the_line_has_rows_rate_and_time_left():
    with progress.Progress("Transform", 40_000) as counted:
        counted.advance(10_000)
        line = counted.line(20.0)
    assert line == "Transform: 10,000 of 40,000 rows, 500 a second, 1 min 0 s left"


def test_without_a_total_there_is_no_time_left():
    with progress.Progress("Evaluator", 0, "steps") as counted:
        counted.advance(7)
        assert counted.line(2.0) == "Evaluator: 7 steps, 4 a second"
        assert counted.line(60.0) == "Evaluator: 7 steps, 7 a minute"


def test_a_worker_that_cannot_reach_the_file_goes_on_and_leaves_none(tmp_path, monkeypatch):
    """On another machine the folder is not there; after the end the file is not."""
    monkeypatch.setattr(progress.tempfile, "tempdir", str(tmp_path))
    with progress.Progress("Transform", 10) as counted:
        tmp_path.rename(tmp_path.with_name("moved"))
        counted.advance(1)
        tmp_path.with_name("moved").rename(tmp_path)
        counted.advance(2)
        assert counted.done() == 2
    counted.advance(3)
    assert not list(tmp_path.iterdir())


def test_nothing_is_told_before_the_first_rows(fast, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr("sys.stdout", screen)
    with progress.Progress("Transform", 10) as counted:
        time.sleep(0.2)
        assert not screen.getvalue()
        counted.advance(1)
        wait_for(screen, "1 of 10 rows")


def test_a_terminal_has_one_line_that_is_cleared_at_the_end(fast, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    with progress.Progress("Transform", 100) as counted:
        counted.advance(50)
        wait_for(screen, "50 of 100 rows")
    assert "\n" not in screen.getvalue()
    assert screen.getvalue().endswith("\r\033[K")


def test_a_file_has_lines(fast, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr("sys.stdout", screen)
    with progress.Progress("Transform", 100) as counted:
        counted.advance(50)
        wait_for(screen, "50 of 100 rows")
    assert re.fullmatch(r"(    Transform: .*\n)+", screen.getvalue())


@pytest.mark.parametrize("screen", [io.StringIO(), Terminal()])
def test_a_short_component_says_nothing_and_leaves_no_file(monkeypatch, tmp_path, screen):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.stdout", screen)
    with progress.Progress("Transform", 100) as counted:
        counted.advance(100)
    assert screen.getvalue() == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (7_800, "2 h 10 min"), (-1, "0 s")],
)
def test_durations_are_in_words(seconds, words):
    assert progress.duration(seconds) == words
