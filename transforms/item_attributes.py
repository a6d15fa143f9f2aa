"""The item table inside a model: from item ids to the value ids of their attributes."""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from transforms import features, item_table
from transforms.item_ids import ItemIds


class ItemAttributes:
    """Value ids of attributes by item id.

    The arrays are variables that nothing trains, and no layer tracks them: a checkpoint holds
    weights alone, and an export with a newer catalogue has the same weights.

    Args:
      ids: the layout of the item ids.
      row_of_id: row of each id below `ids.first_new`, int32, -1 for items that the catalogue does
        not know.
      values: value ids `(C, M)` of each field by its name.
      sizes: number of value ids of each field.
      table: the table on disk, if there is one.
    """

    def __init__(
        self,
        ids: ItemIds,
        row_of_id: np.ndarray,
        values: dict[str, np.ndarray],
        sizes: dict[str, int],
        table: item_table.ItemTable | None = None,
    ):
        self.ids = ids
        self.table = table
        self.sizes = sizes
        # Row 0 belongs to the items that the catalogue does not know.
        unknown = {name: _unknown(array.shape[1]) for name, array in values.items()}
        self._row_of_id = _constant(row_of_id + 1)
        self._values = {
            name: _constant(np.concatenate([unknown[name], array]))
            for name, array in values.items()
        }

    @property
    def variables(self) -> list[tf.Variable]:
        """All arrays, for the object that is exported."""
        return [self._row_of_id, *self._values.values()]

    def values(self, items: tf.Tensor) -> dict[str, tf.Tensor]:
        """Value ids int32 `(N, M)` by field, of item ids `(N,)`; 0 is padding."""
        first_new = self.ids.first_new
        known = tf.gather(self._row_of_id, tf.minimum(items, first_new - 1))
        rows = tf.where(items < first_new, known, items - first_new + 1)
        return {name: tf.gather(values, rows) for name, values in self._values.items()}


def of_transform_graph(folder: str, oov_buckets: int) -> ItemAttributes | None:
    """The attributes that lie in the folder of a Transform graph; None if it has no item table."""
    table = item_table.of_transform_graph(folder)
    if table is None:
        return None
    transform = tft.TFTransformOutput(folder)
    vocabulary = transform.vocabulary_by_name(features.ITEM_VOCABULARY)
    ids = ItemIds(oov_buckets, len(vocabulary), table.items)
    row = {item: number for number, item in enumerate(table.ids())}
    row_of_id = np.full(ids.first_new, -1, np.int32)
    row_of_id[ids.first_known :] = [row.get(item, -1) for item in vocabulary]
    values = {field.name: table.values(number) for number, field in enumerate(table.fields)}
    return ItemAttributes(ids, row_of_id, values, table.shape(), table)


def _unknown(width: int) -> np.ndarray:
    row = np.full((1, width), item_table.PADDING, np.int32)
    row[0, 0] = item_table.MISSING
    return row


def _constant(values: np.ndarray) -> Any:
    return tf.Variable(values.astype(np.int32), trainable=False)
