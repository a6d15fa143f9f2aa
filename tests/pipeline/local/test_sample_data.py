import collections
import itertools

import numpy as np

from pipeline.local import sample_data


def _rows(path):
    return [line.split(",") for line in path.read_text().splitlines()]


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        sample_data.write_ratings(str(tmp_path / name), users=50, items=800, seed=seed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_it_looks_like_ratings_of_2014(tmp_path):
    path = tmp_path / "ratings.csv"
    sample_data.write_ratings(str(path), users=300, items=2_000)
    rows = _rows(path)
    assert all(len(user) == 14 and user[0] == "A" for user, _, _, _ in rows)
    assert all(len(item) == 10 and item[:3] == "B00" for _, item, _, _ in rows)
    assert {rating for _, _, rating, _ in rows} == {"1.0", "2.0", "3.0", "4.0", "5.0"}
    assert all(int(time) % 86_400 == 0 for _, _, _, time in rows)
    items = [item for _, item, _, _ in rows]
    assert len(set(items)) == 1 + sum(a != b for a, b in itertools.pairwise(items))
    pairs = [(user, item) for user, item, _, _ in rows]
    assert len(set(pairs)) == len(pairs)


def test_activity_and_popularity_have_heavy_tails(tmp_path):
    path = tmp_path / "ratings.csv"
    sample_data.write_ratings(str(path), users=500, items=2_000)
    for column in (0, 1):
        counts = np.sort(list(collections.Counter(row[column] for row in _rows(path)).values()))
        assert counts[-len(counts) // 10 :].sum() > 0.25 * counts.sum()
        assert counts.max() > 5 * np.median(counts)


def test_a_file_that_is_there_is_left_alone(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("mine")
    sample_data.write_ratings(str(path))
    assert path.read_text() == "mine"
