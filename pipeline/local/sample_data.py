"""Generates ratings and a catalogue in the style of Amazon, for runs without `RATINGS`.

The data shows that the pipeline works and what it prints. It says nothing about the quality of a
model on real users.

As in real ratings: the 2014 layout, ids of Amazon's shape, whole days, rows sorted by item, and
heavy tails of activity and popularity. To reward long memory, a user has several lasting
interests. Phases follow one interest each, and single events return to an interest that may have
been silent for hundreds of events.
"""

import json
import os
import pathlib
from collections.abc import Iterable

import numpy as np

SECONDS_A_DAY = 86_400
_FIRST_DAY = 14_610  # 2010-01-01, in days since 1970
_DAYS = 1_600
_INTERESTS = 30
_PHASE_EVENTS = 25  # mean length of a phase
_RETURN_SHARE = 0.35  # of events that leave the phase for an older interest
_STRAY_SHARE = 0.05  # of events that follow no interest of the user
_WRONG_SHARE = 0.15  # of items whose attributes are those of another interest
_MISSING_SHARE = 0.05  # of items without a field
_CHARACTERS = np.array(list("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"))


def write_ratings(
    path: str, users: int = 1_500, items: int = 3_000, seed: int = 0, catalogue: str = ""
) -> None:
    """Writes a file of generated ratings, and a catalogue of their items, unless they exist.

    Args:
      path: path of the file, in the layout `user,item,rating,timestamp` without a header.
      users: number of users; each has 3 to about 300 events, 26 on average.
      items: number of items.
      seed: the same seed writes the same bytes.
      catalogue: path of the catalogue, JSON lines as Amazon's of 2018; "" writes none.
    """
    if os.path.exists(path) and (not catalogue or os.path.exists(catalogue)):
        return
    rng = np.random.default_rng(seed)
    interest_of = rng.integers(0, _INTERESTS, items)
    members = [np.flatnonzero(interest_of == interest) for interest in range(_INTERESTS)]
    fame = [_zipf(len(of)) for of in members]
    rows = []
    for user in range(users):
        events = int(np.clip(rng.lognormal(3.0, 1.15), 5, 800))
        chosen = _user_items(rng, events, members, fame)
        days = _FIRST_DAY + _days(rng, len(chosen))
        ratings = rng.choice(5, len(chosen), p=(0.05, 0.05, 0.1, 0.2, 0.6)) + 1
        rows.append(
            np.stack([np.full(len(chosen), user), chosen, ratings, days * SECONDS_A_DAY], axis=1)
        )
    table = np.concatenate(rows)
    table = table[np.lexsort((table[:, 0], table[:, 1]))]
    user_ids, item_ids = _ids(rng, users, "A", 13), _ids(rng, items, "B00", 7)
    lines = [
        f"{user_ids[user]},{item_ids[item]},{rating}.0,{time}\n"
        for user, item, rating, time in table
    ]
    _write(path, lines)
    if catalogue:
        _write(catalogue, _catalogue(item_ids, interest_of, np.random.default_rng([seed, 1])))


def _write(path: str, lines: Iterable[str]) -> None:
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(f"{path}.{os.getpid()}")
    try:
        temporary.write_text("".join(lines), encoding="ascii")
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)  # a part of a file, where the disk is full


def _catalogue(
    item_ids: list[str], interest_of: np.ndarray, rng: np.random.Generator
) -> Iterable[str]:
    """A line for each item. Category, brand and price tell its interest, but not always."""
    for item, interest in zip(item_ids, interest_of.tolist(), strict=True):
        told = interest if rng.random() > _WRONG_SHARE else int(rng.integers(_INTERESTS))
        brand = 2 * told + int(rng.integers(2)) if rng.random() < 0.7 else rng.integers(60)
        price = rng.lognormal(2.0 + 0.1 * (told % 10), 0.4)
        row = {
            "asin": item,
            "title": f"Generated item {item}",
            "category": [f"Department {told // 6}", f"Shelf {told}"],
            "brand": f"Brand {brand}",
            "price": f"${price:.2f}",
            "average_rating": round(float(rng.normal(4.0, 0.4)), 1),
        }
        for name in ("category", "brand", "price"):
            if rng.random() < _MISSING_SHARE:
                del row[name]
        yield json.dumps(row) + "\n"


def _zipf(count: int) -> np.ndarray:
    weights = 1.0 / np.arange(1, count + 1)
    return np.cumsum(weights / weights.sum())


def _days(rng: np.random.Generator, events: int) -> np.ndarray:
    """Sorted days of a user's events: bursts of a day or two, and long pauses."""
    first = rng.integers(0, _DAYS // 2)
    last = rng.integers((first + _DAYS) // 2, _DAYS)
    passed = np.cumsum(rng.lognormal(0.0, 1.6, events))
    return first + np.floor((last - first) * passed / passed[-1]).astype(np.int64)


def _user_items(
    rng: np.random.Generator, events: int, members: list[np.ndarray], fame: list[np.ndarray]
) -> np.ndarray:
    """Distinct items of one user, in the order of the events."""
    interests = rng.choice(len(members), rng.integers(3, 8), replace=False)
    phase = 0
    chosen: dict[int, None] = {}
    for _ in range(events):
        if rng.random() < 1 / _PHASE_EVENTS:
            phase = int(rng.integers(len(interests)))
        draw = rng.random()
        if draw < _STRAY_SHARE:
            interest = int(rng.integers(len(members)))
        elif draw < _STRAY_SHARE + _RETURN_SHARE:
            interest = int(rng.choice(interests))
        else:
            interest = int(interests[phase])
        place = min(int(np.searchsorted(fame[interest], rng.random())), len(fame[interest]) - 1)
        chosen.setdefault(int(members[interest][place]))
    return np.fromiter(chosen, np.int64)


def _ids(rng: np.random.Generator, count: int, prefix: str, length: int) -> list[str]:
    """`count` distinct ids: the prefix and `length` characters."""
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids.setdefault(prefix + "".join(_CHARACTERS[rng.integers(0, 36, length)]))
    return list(ids)
