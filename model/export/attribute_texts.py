"""The attributes of items as texts, inside the exported graph: what the model knows of an item."""

import itertools
from typing import Any

import tensorflow as tf

from transforms import item_table
from transforms.item_attributes import ItemAttributes


class AttributeTexts:
    """Turns item ids into texts such as `Makeup, Lips; Revlon; price 5 to 7.5`.

    Args:
      attributes: their table must be on disk, for the vocabularies.
    """

    def __init__(self, attributes: ItemAttributes):
        if attributes.table is None:
            raise ValueError("`attributes` must have a table on disk. Received: None.")
        self._attributes = attributes
        self._texts = {
            field.name: tf.Variable(texts(attributes.table, number), trainable=False)
            for number, field in enumerate(attributes.table.fields)
        }

    @property
    def variables(self) -> list[tf.Variable]:
        """All texts, for the object that is exported."""
        return list(self._texts.values())

    def __call__(self, items: tf.Tensor) -> tf.Tensor:
        """Texts `(B, N)` of ids `(B, N)`; "" for items that the catalogue does not know.

        The values of a field are joined by ", " and the fields by "; ". A field without a value is
        left out.
        """
        found = self._attributes.values(tf.cast(tf.reshape(items, [-1]), tf.int32))
        fields = [
            _joined(tf.gather(self._texts[name], values), ", ") for name, values in found.items()
        ]
        return tf.reshape(_joined(tf.stack(fields, axis=1), "; "), tf.shape(items))


def texts(table: item_table.ItemTable, number: int) -> list[str]:
    """The text of each value id of a field; "" for padding and missing."""
    field = table.fields[number]
    if field.kind == "number":
        bounds = [f"{bound:g}" for bound in field.bounds]
        ranges = [f"{low} to {high}" for low, high in itertools.pairwise(bounds)]
        ends = (f"below {bounds[0]}", f"{bounds[-1]} or more") if bounds else ("known",)
        values = [f"{field.name} {each}" for each in (ends[0], *ranges, *ends[1:])]
    else:
        values = table.vocabulary(number)
    first = item_table.FIRST_VALUE
    return ([""] * first + values + [""] * field.rows)[: field.rows]


def _joined(parts: tf.Tensor, separator: str) -> Any:
    """Joins the texts `(N, M)` of each row that are not empty: `(N,)`."""
    ragged = tf.ragged.boolean_mask(parts, parts != "")
    return tf.strings.reduce_join(ragged, axis=1, separator=separator)
