"""The scored rows of a slice, in compact arrays: all of them, or a sample of whole users."""

import array
from collections.abc import Sequence

import numpy as np

_HASHES = 1 << 64
_BUCKETS = 1 << 16


class ScoredRows:
    """Users, labels and scores of rows, of whole users only, and at most `max_rows`.

    While there are more rows, the half of the users with the larger hashes is dropped. The choice
    depends on the rows, not on their order. All models score the same rows. Rows of all users are
    counted by hash bucket once users are dropped, so that one user's share stays known.

    Memory: 9 bytes a row and 4 for each model; 0.5 MB for the counts.

    Attributes:
      users: hashes of the rows' users, uint64.
      labels: 0 or 1, int8.
      scores: float32, a column for each model.
    """

    def __init__(self, models: int, max_rows: int) -> None:
        self.users = array.array("Q")
        self.labels = array.array("b")
        self.scores = [array.array("f") for _ in range(models)]
        self._max_rows = max_rows
        self._limit = _HASHES  # users with smaller hashes are in the sample
        self._bucket_rows: np.ndarray | None = None  # of all users; None: nobody was dropped

    def add(self, users: np.ndarray, labels: np.ndarray, scores: Sequence[np.ndarray]) -> None:
        """Adds rows: hashes uint64, labels int8 and, for each model, scores float32, `(N,)`."""
        if self._bucket_rows is not None:
            self._bucket_rows = self._bucket_rows + _by_bucket(users)
            keep = users < np.uint64(self._limit)
            users, labels, scores = users[keep], labels[keep], [column[keep] for column in scores]
        self.users.frombytes(users.tobytes())
        self.labels.frombytes(labels.tobytes())
        for column, more in zip(self.scores, scores, strict=True):
            column.frombytes(more.tobytes())
        self._sample()

    def extend(self, other: "ScoredRows") -> None:
        """Adds the rows of another sample."""
        if self._bucket_rows is not None or other._bucket_rows is not None:
            self._bucket_rows = self._count() + other._count()
        self.users.extend(other.users)
        self.labels.extend(other.labels)
        for column, more in zip(self.scores, other.scores, strict=True):
            column.extend(more)
        if self._limit != other._limit:
            self._limit = min(self._limit, other._limit)
            self._drop()
        self._sample()

    @property
    def share_of_users(self) -> float:
        """The expected share of the slice's users whose rows are here; 1 if all are."""
        return self._limit / _HASHES

    @property
    def largest_user_share(self) -> float:
        """The share of the slice's rows that its largest user has; NaN without rows.

        Exact if no user was dropped. Otherwise the users that share the largest user's hash bucket
        add their rows, which is one row in 65,536 on average.
        """
        if self._bucket_rows is not None:
            rows = self._bucket_rows
        else:
            rows = np.unique(np.frombuffer(self.users, np.uint64), return_counts=True)[1]
        return float(rows.max() / rows.sum()) if len(rows) else float("nan")

    def _sample(self) -> None:
        while len(self.users) > self._max_rows:
            if self._bucket_rows is None:
                self._bucket_rows = self._count()
            self._limit //= 2
            self._drop()

    def _count(self) -> np.ndarray:
        """Rows by hash bucket of the user, of all rows that were added."""
        if self._bucket_rows is not None:
            return self._bucket_rows
        return _by_bucket(np.frombuffer(self.users, np.uint64))

    def _drop(self) -> None:
        """Drops the rows of users outside the sample."""
        keep = np.frombuffer(self.users, np.uint64) < np.uint64(self._limit)
        self.users = _chosen(self.users, keep)
        self.labels = _chosen(self.labels, keep)
        self.scores = [_chosen(column, keep) for column in self.scores]


def _by_bucket(users: np.ndarray) -> np.ndarray:
    buckets = (users % np.uint64(_BUCKETS)).astype(np.int64)
    return np.bincount(buckets, minlength=_BUCKETS)


def _chosen(column: array.array, keep: np.ndarray) -> array.array:
    values = np.frombuffer(column, np.dtype(column.typecode))
    return array.array(column.typecode, values[keep].tobytes())
