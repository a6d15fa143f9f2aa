"""Limits on what a request may ask for; requests that a server refuses are in the other modules."""

import numpy as np
import pytest

from model.export import recommend
from serving import tensors
from serving.errors import RequestError
from serving.limits import Limits
from serving.model import Signature

LIMITS = Limits(values=600, rows=100)
EXPLAIN = Signature("explain", "predict", {}, {"scores": "s", "attention": "a"})
RANK = Signature("rank", "predict", {}, {"scores": "s"})
RECOMMEND = Signature("recommend", "predict", {}, {"items": "i"})


def history(users, events, candidates):
    return {
        "history_item": np.full((users, events), b"i", object),
        "candidates": np.full((users, candidates), b"i", object),
    }


@pytest.mark.parametrize(
    ("signature", "arrays", "asked"),
    [
        (EXPLAIN, history(1, 30, 20), 600),
        (EXPLAIN, history(1, 30, 21), 630),
        (EXPLAIN, history(3, 10, 20), 600),
        (EXPLAIN, history(3, 10, 21), 630),
        (RANK, history(1, 300, 300), 0),  # a score for each candidate alone
        (RECOMMEND, {"k": np.array([600])}, 600),
        (RECOMMEND, {"k": np.array([601])}, 601),
        (RECOMMEND, {"k": np.array([1, 301])}, 602),  # an answer is as wide as the largest
        (RECOMMEND, {"k": np.array([1 << 60])}, 10_000),
        (RECOMMEND, {"k": np.array([-5, -1])}, 0),
        (RECOMMEND, {"k": np.array([], np.int64)}, 0),
    ],
)
def test_an_answer_has_a_largest_size(signature, arrays, asked):
    if asked <= LIMITS.values:
        tensors.check_answer(signature, arrays, LIMITS)
        return
    with pytest.raises(RequestError, match=f"at most 600 .*Asked for: {asked:,}. Split"):
        tensors.check_answer(signature, arrays, LIMITS)


def test_the_most_items_are_those_of_the_export():
    assert tensors._MOST_ITEMS == recommend.MOST


@pytest.mark.parametrize(
    ("shape", "count"),
    [((0, 601), "601"), ((601, 0), "601"), ((25, 25), "625"), ((0, 0, 700), "700")],
)
def test_a_side_of_nothing_hides_no_other_side(shape, count):
    with pytest.raises(RequestError, match=f"at most 600 .*Received: {count}"):
        tensors.check_size("x", shape, LIMITS)
    tensors.check_size("x", (0, 600), LIMITS)
