"""Baselines that search a catalogue without a model: popularity, and the cosine of items."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from pipeline.evaluation import controls
from pipeline.progress import Progress

_ROWS = 32  # histories whose similarities to all items are computed at once


class TrainingItems:
    """Users and items of the training's targets.

    Args:
      users: hashes `(N,)`.
      items: hashes `(N,)`.

    Attributes:
      items: hashes of the distinct items, sorted.
      counts: how often each is a target.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray) -> None:
        self.items, column, self.counts = np.unique(items, return_inverse=True, return_counts=True)
        _, row = np.unique(users, return_inverse=True)
        size = (int(row.max(initial=-1)) + 1, len(self.items))
        pairs = sparse.csc_matrix((np.ones(len(row), np.float32), (row, column)), size)
        pairs.data[:] = 1.0  # a pair counts once
        norm = np.sqrt(np.asarray(pairs.sum(axis=0)).ravel())
        scale = np.divide(1, norm, out=np.zeros_like(norm), where=norm > 0)
        self._unit = (pairs @ sparse.diags(scale)).tocsc()
        self._by_item = self._unit.T.tocsr()
        # Equal counts in the order of the hashes.
        self._by_count = np.argsort(-self.counts, kind="stable")

    def popular(self, share: float) -> np.ndarray:
        """Hashes of the most frequent items, that share of all."""
        return self.items[self._by_count[: max(1, round(share * len(self.items)))]]

    def most_popular(self, histories: np.ndarray, k: int) -> np.ndarray:
        """Hashes `(N, k)` of the most frequent items outside of histories `(N, L)`; 0 for none."""
        result = np.zeros((len(histories), k), np.int64)
        for row, history in enumerate(histories):
            first = self.items[self._by_count[: k + len(history)]]
            left = first[~np.isin(first, history)][:k]
            result[row, : len(left)] = left
        return result

    def most_similar(self, histories: np.ndarray, k: int) -> np.ndarray:
        """Hashes `(N, k)` of the items most similar to a history `(N, L)`, outside of it.

        The score of an item is the sum over the events of `|U_i ∩ U_j| / sqrt(|U_i| |U_j|)`, with U
        the users of an item. Items with a score of 0 follow by popularity.
        """
        result = np.zeros((len(histories), k), np.int64)
        fallback = self.most_popular(histories, k)
        popularity = np.empty(len(self.items))
        popularity[self._by_count] = np.arange(len(self.items))
        for start in range(0, len(histories), _ROWS):
            part = histories[start : start + _ROWS]
            place, known = self._find(part)
            row = np.broadcast_to(np.arange(len(part))[:, None], part.shape)[known]
            events = sparse.csr_matrix(
                (np.ones(len(row), np.float32), (place[known], row)), (len(self.items), len(part))
            )
            scores = (self._by_item @ (self._unit @ events)).tocsc()
            for each, history in enumerate(part):
                column = slice(scores.indptr[each], scores.indptr[each + 1])
                found, score = scores.indices[column], scores.data[column]
                order = np.lexsort((popularity[found], -score))
                best = self.items[found[order]]
                best = best[~np.isin(best, history)][:k]
                others = fallback[start + each]
                best = np.concatenate([best, others[~np.isin(others, best)]])[:k]
                result[start + each, : len(best)] = best
        return result

    def _find(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = np.searchsorted(self.items, items)
        place[place == len(self.items)] = 0
        known = np.isin(items, self.items) & (items != 0)
        return place, known


def read(files: Sequence[str]) -> TrainingItems:
    """Reads the positives of training. Memory grows with them, by some tens of bytes for each."""
    users, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    with Progress("Evaluator, positives of training", 0) as progress:
        for batch in controls.read(files, rows_alone=True):
            positive = batch["label"] == 1
            users.append(batch["user"][positive])
            items.append(batch["item"][positive])
            progress.advance(len(positive))
    return TrainingItems(np.concatenate(users), np.concatenate(items))
