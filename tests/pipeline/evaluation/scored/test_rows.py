"""Samples of whole users: which rows stay, in whatever order and portions they come."""

import pickle

import numpy as np
import pytest

from pipeline.evaluation.scored.rows import ScoredRows


def data(users=100, rows=1_000):
    """Rows of users with hashes of 64 bits; the labels number the rows of a user."""
    rng = np.random.default_rng(0)
    hashes = [int(h) for h in rng.integers(0, 2**64, users, dtype=np.uint64)]
    return [(hashes[k % users], k // users, [k / 8, -k / 8]) for k in range(rows)]


def collect(rows, max_rows, portion=1):
    result = ScoredRows(2, max_rows)
    for start in range(0, len(rows), portion):
        users, labels, scores = zip(*rows[start : start + portion], strict=True)
        result.add(
            np.array(users, np.uint64),
            np.array(labels, np.int8),
            [np.array(of_model, np.float32) for of_model in zip(*scores, strict=True)],
        )
    return result


def content(sample):
    return sorted(zip(sample.users, sample.labels, *sample.scores, strict=True))


def test_all_rows_stay_up_to_the_bound_and_in_their_order():
    rows = data()
    sample = collect(rows, len(rows))
    assert list(sample.users) == [user for user, _, _ in rows]
    assert list(sample.scores[1]) == [scores[1] for _, _, scores in rows]
    assert sample.share_of_users == 1
    assert sample.largest_user_share == 0.01


@pytest.mark.parametrize("max_rows", [999, 300, 40])
def test_more_rows_leave_the_rows_of_the_users_with_the_smallest_hashes(max_rows):
    rows = data()
    sample = collect(rows, max_rows)
    limit = 2**64
    while sum(user < limit for user, _, _ in rows) > max_rows:
        limit //= 2
    assert content(sample) == sorted((u, y, *s) for u, y, s in rows if u < limit)
    assert sample.share_of_users == limit / 2**64 < 1
    assert len(sample.users) <= max_rows


@pytest.mark.parametrize("seed", range(5))
def test_order_and_portions_change_no_row(seed):
    rows = data()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    cuts = np.sort(rng.integers(0, len(rows), 4))
    merged = ScoredRows(2, 150)
    for number, part in enumerate(np.split(order, cuts)):
        sample = collect([rows[k] for k in part], 150, portion=1 + 40 * number)
        merged.extend(pickle.loads(pickle.dumps(sample)))  # Beam does between its stages
    whole = collect(rows, 150)
    assert content(merged) == content(whole)
    assert merged.share_of_users == whole.share_of_users
    assert merged.largest_user_share == whole.largest_user_share


@pytest.mark.parametrize("user", [5, 2**64 - 5])
@pytest.mark.parametrize("max_rows", [10_000, 400])
def test_the_share_of_the_largest_user_is_that_of_all_rows(user, max_rows):
    """Whether or not the user is in the sample."""
    rows = data(rows=880) + [(user, 0, [0.0, 0.0])] * 120
    sample = collect(rows, max_rows)
    assert sample.largest_user_share == pytest.approx(0.12, abs=0.011)  # one bucket may hold two
    assert sample.largest_user_share >= 0.12


def test_one_user_above_the_bound_ends_with_no_row():
    sample = collect([(0, 0, [0.0, 0.0])] * 11, 10)
    assert len(sample.users) == 0
    assert sample.largest_user_share == 1


def test_no_rows_have_no_largest_user():
    assert np.isnan(ScoredRows(1, 10).largest_user_share)
