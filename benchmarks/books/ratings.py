"""Writes a file of ratings in the shape of Amazon Books 2014, of any size, in bounded memory.

The published file has 22,507,155 ratings of 8,026,324 users for 2,330,066 items. Other sizes keep
the ratings a user and an item. Six in ten users have one rating, and few have thousands. A user
has some lasting interests, and phases that follow one of them, so that a model can learn from
histories. Items of an interest differ in popularity by a power law.

Rows of 200,000 users are shuffled among each other. The published file is sorted by item.
"""

import gzip
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from pipeline.ingest.hashing import mix

RATINGS, USERS, ITEMS = 22_507_155, 8_026_324, 2_330_066
_USERS_A_PART = 200_000
# P(events >= k) = k^-1.46 has a mean of 2.8, as the published file.
_TAIL = 1.46
_MOST_EVENTS = 20_000
_INTEREST_ITEMS = 1_000
_INTERESTS_A_USER = 5  # at most
_PHASE_EVENTS = 8
_STRAY_SHARE = 0.1  # of events that follow no interest of the user
_FIRST_DAY, _DAYS, _SECONDS_A_DAY = 14_610, 1_600, 86_400
_LETTERS = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", np.uint8)
_LINE = b"A0000000000000,B000000000,5.0,1262304000\n"


def write(path: str | os.PathLike, ratings: int, seed: int = 0) -> None:
    """Writes `user,item,rating,time` lines as csv.gz, unless the file exists.

    Args:
      path: of the file.
      ratings: number of lines.
      seed: the same seed writes the same lines.
    """
    path = pathlib.Path(path)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with gzip.open(temporary, "wb", compresslevel=1) as file:
            for lines in parts(ratings, seed):
                file.write(lines.tobytes())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def parts(ratings: int, seed: int = 0) -> Iterator[np.ndarray]:
    """The lines as bytes `(N, 41)`, of some users each."""
    users = max(1, round(ratings * USERS / RATINGS))
    items = max(1, round(ratings * ITEMS / RATINGS))
    rng = np.random.default_rng(seed)
    left = ratings
    for first in range(0, users, _USERS_A_PART):
        part = np.arange(first, min(first + _USERS_A_PART, users))
        events = _events(rng, len(part), round(left * len(part) / (users - first)))
        left -= events.sum()
        user = np.repeat(part, events)
        place = np.arange(len(user)) - np.repeat(np.cumsum(events) - events, events)
        item = _items(rng, user, place, items)
        day = _days(rng, user, place, np.repeat(events, events))
        rating = rng.choice(5, len(user), p=(0.05, 0.05, 0.1, 0.2, 0.6)) + 1
        yield _lines(user, item, rating, day * _SECONDS_A_DAY)[rng.permutation(len(user))]


def _events(rng: np.random.Generator, users: int, total: int) -> np.ndarray:
    """Events of each user `(users,)`, at least one each, `total` together."""
    events = np.minimum(rng.random(users) ** (-1 / _TAIL), _MOST_EVENTS).astype(np.int64)
    scale = min(1.0, (total - users) / max((events - 1).sum(), 1))
    events = 1 + ((events - 1) * scale).astype(np.int64)
    return events + np.bincount(rng.integers(0, users, total - events.sum()), minlength=users)


def _items(rng: np.random.Generator, user: np.ndarray, place: np.ndarray, items: int) -> np.ndarray:
    """The item of each event: of an interest of the user, or of any."""
    interests = max(1, items // _INTEREST_ITEMS)
    phase = np.where(place == 0, 1, rng.random(len(user)) < 1 / _PHASE_EVENTS)
    phase = np.cumsum(phase)
    slots = 1 + mix(user.astype(np.uint64)) % np.uint64(_INTERESTS_A_USER)
    slot = mix(phase.astype(np.uint64)) % slots
    own = mix(user.astype(np.uint64) * np.uint64(_INTERESTS_A_USER) + slot) % np.uint64(interests)
    stray = rng.random(len(user)) < _STRAY_SHARE
    interest = np.where(stray, rng.integers(0, interests, len(user)), own.astype(np.int64))
    of_interest = -(-items // interests)
    rank = (of_interest * rng.random(len(user)) ** 4).astype(np.int64)
    return np.minimum(rank * interests + interest, items - 1)


def _days(
    rng: np.random.Generator, user: np.ndarray, place: np.ndarray, events: np.ndarray
) -> np.ndarray:
    """The day of each event: a user's events lie in order between the user's first and last."""
    first = (mix(user.astype(np.uint64)) % np.uint64(_DAYS)).astype(np.int64)
    passed = (place + rng.random(len(user))) / events
    return _FIRST_DAY + first + (passed * (_DAYS - first)).astype(np.int64)


def _lines(user: np.ndarray, item: np.ndarray, rating: np.ndarray, time: np.ndarray) -> np.ndarray:
    lines = np.tile(np.frombuffer(_LINE, np.uint8), (len(user), 1))
    _write_number(lines[:, 1:14], mix(user.astype(np.uint64)), 36)
    _write_number(lines[:, 18:25], item * 15_485_863 % 36**7, 36)  # a prime: distinct ids
    lines[:, 26] += (rating - 5).astype(np.uint8)
    _write_number(lines[:, 30:40], time, 10)
    return lines


def _write_number(columns: np.ndarray, number: np.ndarray, base: int) -> None:
    """Writes the last digits of numbers `(N,)` into columns `(N, digits)`."""
    number = number.astype(np.uint64)
    for column in columns.T[::-1]:
        number, digit = np.divmod(number, np.uint64(base))
        column[:] = _LETTERS[digit.astype(np.int64)]
