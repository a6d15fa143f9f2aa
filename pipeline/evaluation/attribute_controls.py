"""Controls for attributes: their similarity without any training, and the model with wrong ones.

What similarity alone reaches is what attributes tell without a model. A model that gains by
attributes loses the gain when each item has those of another.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.evaluation import shuffled_histories
from transforms import item_table

_EVENTS = 20  # of a history, the newest ones
_CHUNK = 512  # rows whose similarities are computed at once


class Attributes:
    """Attributes of items by a hash of their id.

    Args:
      fields: value ids `(C, M)` of each field.
      ids: raw ids of the C items.
      hashes: number of hashes that raw ids are mapped to.

    Attributes:
      values: value ids `(C + 1, M)` of all fields side by side, no two fields share one; 0 is
        none. Row 0 belongs to unknown items.
    """

    def __init__(self, fields: Sequence[np.ndarray], ids: Sequence[bytes], hashes: int) -> None:
        parts, first = [], 0
        for values in fields:
            parts.append(np.where(values >= item_table.FIRST_VALUE, values + first, 0))
            first += int(values.max(initial=0)) + 1
        side_by_side = np.concatenate(parts, axis=1)
        self.values = np.concatenate([np.zeros_like(side_by_side[:1]), side_by_side])
        hashed = tf.strings.to_hash_bucket_fast(ids, hashes).numpy()
        self._order = np.argsort(hashed)
        self._hashes = hashed[self._order]

    def rows(self, items: np.ndarray) -> np.ndarray:
        """Rows of `values` by hashes of items, in their shape; 0 for unknown items."""
        at = np.searchsorted(self._hashes, items).clip(max=len(self._hashes) - 1)
        found = self._hashes[at] == items
        return np.where(found, self._order[at] + 1, 0)


def has_attributes(model_dir: str) -> bool:
    """Whether a SavedModel was exported with an item table."""
    return tf.io.gfile.exists(os.path.join(model_dir, "assets", item_table.IDS))


def similarity(attributes: Attributes, items: np.ndarray, histories: np.ndarray) -> np.ndarray:
    """Mean similarity of an item to the newest events of a history, `(N,)`; 0 without events.

    The similarity of two items is the idf-weighted Jaccard index of their values:
    `Σ_{a in both} w_a / Σ_{a in either} w_a` with `w_a = log(C / items with a)`.

    Args:
      attributes: of all items.
      items: hashes `(N,)`.
      histories: hashes `(N, L)`, oldest first, 0 is padding on the right.
    """
    values = attributes.values
    count = np.bincount(values.reshape(-1))
    weight = np.log(max(len(values) - 1, 1) / np.maximum(count, 1))
    weight[0] = 0.0
    total = weight[values].sum(axis=1)
    length = (histories != 0).sum(axis=1)
    columns = length[:, None] - 1 - np.arange(min(_EVENTS, max(histories.shape[1], 1)))
    newest = np.take_along_axis(histories, np.maximum(columns, 0), axis=1)
    target, event = attributes.rows(items), attributes.rows(newest)
    result = np.zeros(len(items))
    for start in range(0, len(items), _CHUNK):
        part = slice(start, start + _CHUNK)
        left, right = values[target[part]], values[event[part]]  # (n, M), (n, E, M)
        common = left[:, None, :, None] == right[:, :, None, :]
        both = (common.any(axis=3) * weight[left][:, None]).sum(axis=2)
        either = total[target[part]][:, None] + total[event[part]] - both
        score = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
        filled = columns[part] >= 0
        result[part] = (score * filled).sum(axis=1) / np.maximum(filled.sum(axis=1), 1)
    return result


def scores(model_dir: str, rows: dict[str, np.ndarray], hashes: int) -> dict[str, np.ndarray]:
    """The scores `(N,)` of both controls, by name.

    Args:
      model_dir: a SavedModel with an item table.
      rows: columns "item", "history" and "record" of N rows; items are hashes.
      hashes: number of hashes that raw ids are mapped to.
    """
    model: Any = tf.saved_model.load(model_dir)
    variables = model.item_table[1:]  # after the rows of the ids
    tables = [variable.numpy() for variable in variables]  # row 0 belongs to unknown items
    with tf.io.gfile.GFile(os.path.join(model_dir, "assets", item_table.IDS), "rb") as file:
        ids = file.read().split(b"\n")[:-1]
    attributes = Attributes([table[1:] for table in tables], ids, hashes)
    order = np.append(0, np.random.default_rng(0).permutation(len(ids)) + 1)
    for variable, table in zip(variables, tables, strict=True):
        variable.assign(table[order])
    return {
        "other_items_attributes": shuffled_histories.scores(model, list(rows["record"])),
        "attribute_similarity": similarity(attributes, rows["item"], rows["history"]),
    }
