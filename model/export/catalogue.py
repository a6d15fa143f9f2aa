"""The catalogue inside an export: names and vectors of all items that can be recommended."""

import numpy as np
import tensorflow as tf

from model.ranker import Ranker
from model.retrieval.retrieval_head import RetrievalHead
from transforms.item_ids import ItemIds

_BLOCK = 65_536  # items whose vectors are computed at once


class Catalogue(tf.Module):
    """One row an item: first the ids of unknown items, then the vocabulary, then new items.

    So the row of an id below `first_new` is the id. Items that only the catalogue knows have ids
    beyond, and follow in the order of their rows there. Rows before `first_known` have no name and
    are never recommended.

    Memory: 4 D + 8 bytes an item, and 24 for its name, if that has 22 bytes at most. `vectors` and
    `ids` are read whole, so gather from their `read_value()`: once TensorFlow gathers from a
    variable, each read of its value copies it.

    Args:
      head: the trained first stage.
      ids: the layout of the item ids.
      vocabulary: raw ids of the items of training.
      new_items: raw ids of the rows of the item table, if there is one.
    """

    def __init__(
        self, head: RetrievalHead, ids: ItemIds, vocabulary: list[bytes], new_items: list[bytes]
    ):
        super().__init__(name="catalogue")
        known = set(vocabulary) if new_items else set()
        rows = [row for row, item in enumerate(new_items) if item not in known]
        item_ids = np.append(np.arange(ids.first_new), ids.first_new + np.array(rows, np.int64))
        names = [b""] * ids.first_known + vocabulary + [new_items[row] for row in rows]
        row_of_new = np.zeros(len(new_items), np.int32)  # 0: padding, an item of the vocabulary
        row_of_new[rows] = ids.first_new + np.arange(len(rows))
        blocks = np.split(item_ids, range(_BLOCK, len(item_ids), _BLOCK))
        vectors = [head.items(tf.constant(block, tf.int64)).numpy() for block in blocks]
        self.size = len(item_ids)
        # For those who load the export: how many items the first stage hands on.
        self.candidates = tf.Variable(head.candidates, trainable=False)
        self.first_known, self.first_new = ids.first_known, ids.first_new
        self.vectors = tf.Variable(np.concatenate(vectors), trainable=False)
        self.ids = tf.Variable(item_ids.astype(np.int32), trainable=False)
        shares = head.negative_shares(item_ids).astype(np.float32)
        self.log_shares = tf.Variable(np.log(shares), trainable=False)
        self.names = tf.Variable(np.array(names, object), trainable=False, dtype=tf.string)
        self._row_of_new = tf.Variable(row_of_new, trainable=False) if new_items else None

    def rows(self, items: tf.Tensor) -> tf.Tensor:
        """Rows int64 of item ids, in their shape."""
        items = tf.cast(items, tf.int64)
        if self._row_of_new is None:
            return items
        new = tf.maximum(items - self.first_new, 0)
        return tf.where(
            items < self.first_new, items, tf.cast(tf.gather(self._row_of_new, new), tf.int64)
        )


def catalogue_of(ranker: Ranker, vocabulary: list[bytes]) -> Catalogue:
    """The catalogue of a ranker with a first stage.

    Args:
      ranker: the trained model.
      vocabulary: raw ids of the items of training, in the order of their ids.
    """
    assert ranker.retrieval is not None
    table = ranker.encoder.attributes.table if ranker.encoder.attributes else None
    oov_buckets = ranker.encoder.num_items - 1 - len(vocabulary)
    ids = ItemIds(oov_buckets, len(vocabulary))
    return Catalogue(ranker.retrieval, ids, vocabulary, table.ids() if table else [])
