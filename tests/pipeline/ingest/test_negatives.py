"""Blocks of time, pools and draws."""

import collections

import numpy as np
import pyarrow as pa
import pytest

from pipeline.ingest import hashing, negatives


def test_blocks_of_time(monkeypatch):
    monkeypatch.setattr(negatives, "BLOCK_TARGETS", 10)
    assert negatives.time_blocks({3: 4, 1: 9, 2: 1, 5: 10}) == ([1, 3], [10, 14])
    assert negatives.time_blocks({3: 4, 1: 9, 2: 1}) == ([1], [14])  # the rest is too small
    assert negatives.time_blocks({7: 3}) == ([7], [3])
    monkeypatch.setattr(negatives, "BLOCKS", 4)
    first, count = negatives.time_blocks({day: 10 for day in range(40)})
    assert (first, count) == ([0, 10, 20, 30], [100] * 4)


def pools(items_of_groups, groups_of_splits, shuffled=False):
    rows = [(g, name) for g, names in enumerate(items_of_groups) for name in names]
    if shuffled:
        rows = rows[::-1]
    names = pa.array([name.encode() for _, name in rows])
    hashes = hashing.hash_strings(names)
    group = np.array([g for g, _ in rows], np.int32)
    place = negatives.pool_places(0, hashes, group)
    columns = [pa.array(group), pa.array(place), pa.array(hashes), names]
    return negatives.build_pools(
        pa.Table.from_arrays(columns, schema=negatives.POOL_SCHEMA), groups_of_splits
    )


def draws(of, group, record, count=2_000):
    """Items drawn for samples of one user, and how many left their block."""
    user = hashing.hash_strings(pa.array(["u"]))
    known = np.sort(hashing.mix(user, hashing.hash_strings(pa.array(record, pa.string()))))
    key = hashing.mix(7, np.arange(count))
    chosen, widened = negatives.draw(of, np.full(count, group), key, np.repeat(user, count), known)
    return [of.items[row].as_py().decode() if row >= 0 else None for row in chosen], widened


def test_draws_follow_the_pool_without_the_users_record():
    of = pools([["a", "a", "a", "b", "c"], ["z"]], [2])
    drawn, widened = draws(of, 0, ["c", "y"])
    count = collections.Counter(drawn)
    assert set(count) == {"a", "b"}
    assert abs(count["a"] / 2_000 - 0.75) < 0.05
    assert widened == 0
    assert (
        draws(pools([["a", "a", "a", "b", "c"], ["z"]], [2], shuffled=True), 0, ["c"])[0]
        == (draws(of, 0, ["c"])[0])
    )


def test_a_block_without_an_admissible_item_widens_to_its_split():
    of = pools([["a", "b"], ["a", "c"], ["d"]], [2, 1])
    drawn, widened = draws(of, 0, ["a", "b"], 100)
    assert set(drawn) == {"c"}
    assert widened == 100
    drawn, widened = draws(of, 2, ["d"], 10)
    assert drawn == [None] * 10  # the other split has items, but they are not for this one
    assert widened == 10


@pytest.mark.parametrize("known", [500, 999])
def test_the_last_admissible_item_is_found(known):
    of = pools([[f"i{n}" for n in range(1_000)]], [1])
    drawn, _ = draws(of, 0, [f"i{n}" for n in range(known)], 50)
    assert all(int(item[1:]) >= known for item in drawn)
