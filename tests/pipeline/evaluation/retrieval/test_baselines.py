"""Popularity and the cosine of items, on a world of three users."""

import numpy as np

from pipeline.evaluation.retrieval.baselines import TrainingItems

# User 1 has items 10, 20 and 30, user 2 has 10 and 20, user 3 has 20 and 40 (twice).
WORLD = TrainingItems(
    np.array([1, 1, 1, 2, 2, 3, 3, 3]), np.array([10, 20, 30, 10, 20, 20, 40, 40])
)


def test_popularity_counts_targets_and_leaves_the_history_out():
    histories = np.array([[0, 0], [20, 0], [20, 40]])
    # 20 is a target three times, 10 and 40 twice, 30 once; equal counts by their number.
    assert WORLD.most_popular(histories, 2).tolist() == [[20, 10], [10, 40], [10, 30]]


def test_the_popular_items_are_a_share_of_all():
    assert WORLD.popular(0.5).tolist() == [20, 10]
    assert WORLD.popular(0.001).tolist() == [20]


def test_the_most_similar_items_have_the_largest_cosines_of_their_users():
    """cos(10, 20) = 2/√6, cos(10, 30) = 1/√2, cos(30, 20) = 1/√3, cos(20, 40) = 1/√3."""
    histories = np.array([[10, 0], [30, 10], [40, 0]])
    # From 10: 20 (.816), 30 (.707), then 40 by popularity.
    # From 30 and 10: 20 (.577 + .816), then 40. From 40: 20, then 10 and 30 by popularity.
    assert WORLD.most_similar(histories, 3).tolist() == [[20, 30, 40], [20, 40, 0], [20, 10, 30]]


def test_unknown_items_and_empty_histories_get_the_popular_ones():
    histories = np.array([[99, 0], [0, 0]])
    assert WORLD.most_similar(histories, 2).tolist() == [[20, 10], [20, 10]]


def test_without_training_there_is_nothing_to_recommend():
    nothing = TrainingItems(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert nothing.most_popular(np.array([[5]]), 2).tolist() == [[0, 0]]
    assert nothing.most_similar(np.array([[5]]), 2).tolist() == [[0, 0]]
