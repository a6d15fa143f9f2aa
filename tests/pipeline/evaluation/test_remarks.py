"""Each remark at its bound and beyond it."""

import pytest

from pipeline.evaluation import remarks


def lines(share=0.1, sampled=1.0, users=30, rows=200):
    metrics = {"overall": {"largest_user_share": share, "share_of_users": sampled}}
    return remarks.lines(metrics, {"splits": {"eval": {"samples": rows, "users": users}}})


def test_nothing_is_said_at_the_bounds():
    assert lines() == []


@pytest.mark.parametrize(
    ("beyond", "text"),
    [
        ({"share": 0.12}, "Look: one user has 12 % of the test rows"),
        ({"sampled": 0.125}, "Sample: the test metrics are those of 12.5 % of the users"),
        ({"users": 29}, "Look: the eval split has 200 rows of 29 users."),
        ({"rows": 198}, "Look: the eval split has 198 rows of 30 users."),
        ({"rows": 2, "users": 1}, "Look: the eval split has 2 rows of 1 users."),
    ],
)
def test_beyond_a_bound_there_is_one_line(beyond, text):
    (line,) = lines(**beyond)
    assert line.startswith(text)
