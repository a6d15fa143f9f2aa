"""Aggregates and sets over a stream of batches, in sorted NumPy arrays."""

import numpy as np

# Pending values are merged at this number: 32 MB of 64-bit values.
_PENDING = 1 << 22


class StreamingSet:
    """A set of int64 values, added in arrays."""

    def __init__(self) -> None:
        self._values = np.zeros(0, np.int64)
        self._pending: list[np.ndarray] = []

    def add(self, values: np.ndarray) -> None:
        """Adds values `(N,)`."""
        self._pending.append(np.unique(values))
        if sum(map(len, self._pending)) > _PENDING:
            self._merge()

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Whether each of the values `(N,)` is in the set: bool `(N,)`."""
        self._merge()
        return _find(self._values, values)[1]

    def _merge(self) -> None:
        if self._pending:
            self._values = np.unique(np.concatenate([self._values, *self._pending]))
            self._pending = []


class ItemAggregates:
    """Rows, positive rows and the mean time of positive rows, by target item."""

    def __init__(self) -> None:
        self.rows = 0
        self.positives = 0
        self._items = np.zeros(0, np.int64)
        self._sums = np.zeros((3, 0))
        self._pending: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, item: np.ndarray, label: np.ndarray, time: np.ndarray) -> None:
        """Adds rows: items, labels of 0 and 1, and times in seconds, each `(N,)`."""
        self.rows += len(item)
        self.positives += int(label.sum())
        self._pending.append(
            _by_item(item, np.stack([np.ones(len(item)), label, label * time.astype(np.float64)]))
        )
        if sum(len(items) for items, _ in self._pending) > _PENDING:
            self._merge()

    def lookup(self, item: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """By item `(N,)`: has a positive row, rows, positive rows, mean time of positive rows."""
        self._merge()
        position, known = _find(self._items, item)
        sums = np.zeros((3, len(item)))
        sums[:, known] = self._sums[:, position[known]]
        count, positives, time = sums
        return positives > 0, count, positives, time / np.maximum(positives, 1)

    def _merge(self) -> None:
        if self._pending:
            items, sums = zip((self._items, self._sums), *self._pending, strict=True)
            self._items, self._sums = _by_item(np.concatenate(items), np.concatenate(sums, axis=1))
            self._pending = []


def _by_item(item: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct items, and the sums `(K, items)` of values `(K, N)`."""
    items, item_index = np.unique(item, return_inverse=True)
    sums = [np.bincount(item_index, weights=row, minlength=len(items)) for row in values]
    return items, np.stack(sums)


def _find(sorted_values: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The position of each value in a sorted array, and whether it is in it."""
    if not len(sorted_values):
        return np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    position = np.minimum(np.searchsorted(sorted_values, values), len(sorted_values) - 1)
    return position, sorted_values[position] == values
