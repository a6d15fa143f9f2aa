"""The generated ratings have the shape that they claim, and the table says what was measured."""

import collections
import gzip
import itertools
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.books import __main__ as books
from benchmarks.books import ratings

COUNT = 60_000


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("books") / "ratings.csv.gz"
    ratings.write(path, COUNT)
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def test_the_number_of_lines_users_and_items_is_that_of_the_published_file(lines):
    assert len(lines) == COUNT
    users = collections.Counter(line.split(",")[0] for line in lines)
    items = collections.Counter(line.split(",")[1] for line in lines)
    assert len(users) == round(COUNT * ratings.USERS / ratings.RATINGS)
    most = round(COUNT * ratings.ITEMS / ratings.RATINGS)
    assert 0.9 * most < len(items) <= most
    assert 0.5 < np.mean(np.array(list(users.values())) == 1) < 0.7
    assert max(users.values()) > 200  # a heavy tail: 2.8 are the mean
    assert max(items.values()) > 20 * COUNT / len(items)


def test_lines_are_of_the_layout_of_2014(lines):
    for line in lines[:200]:
        user, item, rating, time = line.split(",")
        assert (user[0], len(user), item[:3], len(item)) == ("A", 14, "B00", 10)
        assert rating in {f"{stars}.0" for stars in range(1, 6)}
        assert int(time) % 86_400 == 0


def test_the_history_of_a_user_tells_the_next_interest(lines):
    """Of two neighbours in time more share an interest than of two of a user's rows at random."""
    interests = max(1, round(COUNT * ratings.ITEMS / ratings.RATINGS) // 1_000)
    assert interests > 1
    by_user = collections.defaultdict(list)
    inverse = pow(15_485_863, -1, 36**7)
    for line in lines:
        user, item, _, time = line.split(",")
        number = int(item[3:], 36) * inverse % 36**7
        by_user[user].append((int(time), number % interests))
    same, chance = [], []
    rng = np.random.default_rng(0)
    for rows in by_user.values():
        of = [interest for _, interest in sorted(rows)]
        if len(of) > 20:
            mixed = rng.permutation(of)
            same += [a == b for a, b in itertools.pairwise(of)]
            chance += (mixed[1:] == mixed[:-1]).tolist()
    assert np.mean(same) > np.mean(chance) + 0.05


def test_the_seed_decides_the_file(tmp_path):
    files = [tmp_path / f"{seed}-{copy}" for seed in (0, 1) for copy in "ab"]
    contents = []
    for file in files:
        ratings.write(file, 1_000, seed=int(file.name[0]))
        contents.append(gzip.decompress(file.read_bytes()))
    assert contents[0] == contents[1] != contents[2] == contents[3]


def test_the_exponent_is_that_of_a_power():
    assert books.exponent([1e5, 1e6], [2 * 1e5**0.8, 2 * 1e6**0.8]) == pytest.approx(0.8)
    assert np.isnan(books.exponent([1e5], [1.0]))


def test_the_table_has_a_row_for_each_long_component():
    def costs(factor):
        one = {"seconds": 10.0, "peak_memory_mb": 500.0, "processor_seconds": 8.0}
        of = {name: value * factor for name, value in one.items()}
        return {"Transform": of, "Trainer": of, "Pusher": one | {"seconds": 0.1}}

    runs = [{"ratings": 10**n, "costs": costs(10 ** (n - 5))} for n in (5, 6)]
    text = books.markdown(
        {
            "date": "2026-01-01",
            "command": "c",
            "machine": "m",
            "load_at_start": 0.0,
            "runs": runs,
            "resumed": "RatingsExampleGen reused",
        }
    )
    assert "| Transform | 10 | 8 | 500 | 100 | 80 | 5,000 | 1.00 | 1.00 |" in text
    assert "| all | 20 |" in text
    assert "Pusher" not in text
    assert "`RatingsExampleGen reused`" in text


def test_a_run_that_ends_early_is_named():
    with (
        subprocess.Popen(
            [sys.executable, "-c", "print('nothing')"], stdout=subprocess.PIPE, text=True
        ) as run,
        pytest.raises(RuntimeError, match=r"`Pushed:`\. It ended with status 0"),
    ):
        books.lines_until(run, "Pushed:")
