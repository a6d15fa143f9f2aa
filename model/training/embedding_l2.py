"""Mini-batch-aware L2 of the id table (DIN, arXiv 1706.06978, section 5.1)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from model.ranker import Ranker
from model.training import data
from transforms import features


class EmbeddingL2:
    """`λ/2 Σ_j ‖w_j‖² / n_j` over the items j of a batch, n_j their count in training.

    Each row of the batch is decayed once, and no other row, so the gradient stays sparse.
    Over an epoch the decay of an item that is once in a batch adds up to λ, and to λ/m for
    an item that is m times in each of its batches. Items are counted in whole histories,
    also with `history_dropout`.

    Args:
      weight: λ.
      counts: n_j of each row of the id table; 0 counts as 1.
    """

    def __init__(self, weight: float, counts: np.ndarray):
        self._weight = weight
        self._counts = tf.constant(np.maximum(counts, 1), tf.float32)

    def __call__(self, ranker: Ranker, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """The L2 loss of a batch of transformed features, a scalar."""
        history = batch[features.HISTORY_ITEM]
        length = tf.reshape(batch[features.HISTORY_LENGTH], [-1])
        filled = tf.sequence_mask(length, tf.shape(history)[1])
        events = tf.boolean_mask(history, filled)
        targets = tf.reshape(batch[features.TARGET_ITEM], [-1])
        # The last row belongs to all items that only the catalogue knows.
        items = tf.minimum(tf.concat([events, targets], 0), self._counts.shape[0] - 1)
        items, _ = tf.unique(items)
        rows = ranker.encoder.id_rows(items)
        squared_norms = tf.reduce_sum(tf.square(rows), axis=1)
        return self._weight / 2 * tf.reduce_sum(squared_norms / tf.gather(self._counts, items))


def item_counts(files: Sequence[str], spec: dict[str, Any], rows: int) -> np.ndarray:
    """Occurrences of each row of the id table `(rows,)` in samples, in histories and as target."""
    total = np.zeros(rows, np.int64)
    for batch in data.evaluation_batches(files, spec, 4096).as_numpy_iterator():
        history = batch[features.HISTORY_ITEM]
        filled = np.arange(history.shape[1]) < batch[features.HISTORY_LENGTH].reshape(-1, 1)
        for items in (history[filled], batch[features.TARGET_ITEM].reshape(-1)):
            total += np.bincount(np.minimum(items, rows - 1), minlength=rows)
    return total
