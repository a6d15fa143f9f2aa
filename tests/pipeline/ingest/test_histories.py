"""Order, splits and windows of users written by hand."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.configs import Settings
from pipeline.ingest import histories

DAY = 86_400


def events(*rows):
    """Events of (user, item, day), sorted as the job does."""
    users, items, days = zip(*rows, strict=True)
    table = pa.table(
        {
            "user": pa.array([u.encode() for u in users]),
            "item": pa.array([i.encode() for i in items]),
            "time": pa.array([round((15_000 + d) * DAY * 1e6) for d in days]),
        }
    )
    return histories.sort_events(table, 0)


def chosen(of, split, **settings):
    """Split, target and history of each target, in letters."""
    targets = histories.choose_targets(of, np.array(split), Settings(**settings))
    items = [of.items[row].as_py().decode() for row in of.item]
    spans = zip(targets.row, targets.split, targets.begin, targets.end, strict=True)
    return [("tev"[s], items[row], "".join(items[b:e])) for row, s, b, e in spans]


def one_user(items, days=None):
    return events(
        *((("u", item, day) for item, day in zip(items, days or range(99), strict=False)))
    )


def test_events_are_sorted_and_kept_once():
    of, dropped = events(("u", "b", 3), ("v", "a", 0), ("u", "a", 1), ("u", "b", 3), ("u", "a", 9))
    assert dropped == 1
    rows = [
        (of.users[u].as_py(), of.items[i].as_py(), int(d) - 15_000)
        for u, i, d in zip(of.user, of.item, of.day, strict=True)
    ]
    assert sorted(rows) == [(b"u", b"a", 1), (b"u", b"a", 9), (b"u", b"b", 3), (b"v", b"a", 0)]
    assert [row[1:] for row in rows if row[0] == b"u"] == [(b"a", 1), (b"b", 3), (b"a", 9)]
    assert of.fresh.tolist().count(False) == 1
    assert not of.fresh[rows.index((b"u", b"a", 9))]


def test_order_within_a_day_is_not_the_files():
    items = "abcdefgh"
    first, _ = one_user(items, [4] * 8)
    second, _ = one_user(items[::-1], [4] * 8)
    orders = [[of.items[i].as_py() for i in of.item] for of in (first, second)]
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])


def test_order_and_repetition_go_by_the_microsecond():
    tick = 1e-6 / DAY
    items = "hgfedcba"
    of, dropped = one_user(items, [4 + n * tick for n in range(8)])
    assert dropped == 0
    assert [of.items[i].as_py().decode() for i in of.item] == list(items)
    assert set(of.time.tolist()) == {15_004 * DAY}
    # The same item twice in one second is two events, at the same instant one.
    of, dropped = events(("u", "a", 4 + tick), ("u", "a", 4), ("u", "b", 4), ("u", "a", 4))
    assert (len(of.item), dropped) == (3, 1)
    assert of.fresh.sum() == 2


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {},
            [
                ("t", "b", "a"),
                ("t", "c", "ab"),
                ("t", "d", "bc"),
                ("e", "e", "cd"),
                ("v", "f", "de"),
            ],
        ),
        ({"shift": 2}, [("t", "b", "a"), ("t", "d", "bc"), ("e", "e", "cd"), ("v", "f", "de")]),
        ({"shift": 3}, [("t", "d", "bc"), ("e", "e", "cd"), ("v", "f", "de")]),
        ({"max_windows_per_user": 1}, [("t", "d", "bc"), ("e", "e", "cd"), ("v", "f", "de")]),
        ({"min_history_length": 4}, [("e", "e", "cd"), ("v", "f", "de")]),
        (
            {"min_history_length": 0, "shift": 3},
            [("t", "a", ""), ("t", "d", "bc"), ("e", "e", "cd"), ("v", "f", "de")],
        ),
    ],
)
def test_windows_of_a_user(settings, expected):
    of, _ = one_user("abcdef")
    assert chosen(of, [0, 0, 0, 0, 1, 2], max_history_length=2, **settings) == expected


def test_a_repeat_stays_in_the_history_and_is_no_target():
    of, _ = one_user("abacb")
    assert chosen(of, [0] * 5) == [("t", "b", "a"), ("t", "c", "aba")]
    # d steps over all events: b, the last, would be a target; two before it is a repeat too.
    assert chosen(of, [0] * 5, shift=2) == []


def test_the_targets_day_may_be_left_out():
    of, _ = one_user("abcd", [1, 2, 2, 3])
    second, third = (of.items[i].as_py().decode() for i in of.item[1:3])
    assert chosen(of, [0] * 4, same_day="exclude") == [
        ("t", second, "a"),
        ("t", third, "a"),
        ("t", "d", "a" + second + third),
    ]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, "t"),
        (2, "tv"),
        (3, "tev"),
        (4, "ttev"),
        (10, "tttttttt" + "ev"),
        (25, "t" * 19 + "eee" + "vvv"),
    ],
)
def test_leave_last_by_share(count, expected):
    of, _ = one_user([f"i{n}" for n in range(count)])
    split = histories.splits(of, Settings(split="leave_last"), (0, 0))
    assert "".join("tev"[s] for s in split) == expected


def test_boundaries_are_the_days_of_the_quantiles():
    # Ten events: number 8 is the first on day 7, number 9 lies on day 7 as well.
    assert histories.boundaries({1: 5, 4: 3, 7: 2}, 0.1, 0.1) == (7, 7)
    assert histories.boundaries({1: 5, 4: 3, 7: 1, 8: 1}, 0.1, 0.1) == (7, 8)
    assert histories.boundaries({1: 9, 4: 1}, 0.1, 0.1) == (1, 4)
    of, _ = one_user("abcd", [1, 4, 7, 8])
    split = histories.splits(of, Settings(), (15_004, 15_008))
    assert split.tolist() == [0, 1, 1, 2]


def test_users_split_by_share():
    of, _ = events(*((f"u{n}", "i", 0) for n in range(5_000)))
    split = histories.splits(of, Settings(split="user", eval_share=0.2), (0, 0))
    share = np.bincount(split) / 5_000
    assert abs(share - [0.7, 0.2, 0.1]).max() < 0.03
    other = histories.splits(of, Settings(split="user", eval_share=0.2, sampling_seed=1), (0, 0))
    assert (split != other).any()


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ({1: 1, 3: 1, 7: 1}, (3, 8)),  # one of three is more than a tenth: nobody is long
        ({n: 1 for n in range(1, 11)}, (5, 10)),  # exactly one of ten is
        ({1: 50, 2: 45, 9: 5}, (1, 3)),
        ({4: 20}, (4, 5)),
    ],
)
def test_bounds_of_history_buckets(lengths, expected):
    assert histories.length_bounds(lengths) == expected


def test_last_lengths_are_one_value_per_user_and_split():
    of, _ = events(*(("u", f"i{n}", n) for n in range(6)), *(("v", f"i{n}", n) for n in range(3)))
    split = np.where(of.day >= 15_004, 1, 0)
    targets = histories.choose_targets(of, split, Settings(max_history_length=2))
    last = histories.last_lengths(of, targets)
    names = [of.users[u].as_py() for u in of.user[targets.row]]
    found = dict(zip(zip(names, targets.split.tolist(), strict=True), last.tolist(), strict=True))
    assert found == {(b"u", 0): 3, (b"u", 1): 5, (b"v", 0): 2}
    assert len(set(zip(names, targets.split, last, strict=True))) == 3


def test_a_cap_on_targets_keeps_the_newest_of_eval_and_of_test():
    of, _ = one_user("abcdefgh")
    split = [0, 0, 0, 1, 1, 1, 2, 2]
    all_of_them = chosen(of, split)
    assert len(all_of_them) == 7
    assert chosen(of, split, max_targets_per_user=1) == [
        target for target in all_of_them if target[:2] not in {("e", "d"), ("e", "e"), ("v", "g")}
    ]
