"""Which items of the catalogue a request allows."""

import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from model.export.catalogue import Catalogue
from model.export.first_stage import Allowed
from model.export.requests import Requests
from transforms import features, item_table
from transforms.item_attributes import ItemAttributes
from transforms.item_ids import line_numbers

EXCLUDE_HISTORY = "exclude_history"
EXCLUDE = "exclude"
ONLY_ITEMS = "only_items"
ONLY_VALUES = "only_values"
_CATEGORY = "category"


class ItemFilter:
    """The inputs of `recommend_filtered` beside the history and `k`.

    - `exclude_history` `(B,)`: whether to leave out the items of the history.
    - `exclude` `(B, E)`: raw ids to leave out.
    - `only_items` `(B, A)`: raw ids to keep to. Without any, all items.
    - `only_values` `(B, V)`: values of attributes to keep to, as `category=Hair Care`; an item
      needs one of them. Without any, all items. Without categories, no item has a value.

    "" is nothing, in each of them; their width may be 0. An item must pass all of them.

    Args:
      catalogue: the items.
      attributes: of the items, or None.
      requests: looks ids up.
    """

    def __init__(self, catalogue: Catalogue, attributes: ItemAttributes | None, requests: Requests):
        self._catalogue, self._attributes, self._requests = catalogue, attributes, requests
        table = attributes.table if attributes else None
        self._fields = {
            field.name: (field.rows, line_numbers(table.vocabulary_file(number)))
            for number, field in enumerate(table.fields if table else ())
            if table and field.kind == _CATEGORY
        }

    @property
    def tables(self) -> list[Any]:
        """The lookup tables, for the object that is exported."""
        return [values for _, values in self._fields.values()]

    def inputs(self) -> dict[str, tf.TensorSpec]:
        """The inputs by name."""
        names = (EXCLUDE, ONLY_ITEMS, ONLY_VALUES)
        lists = {name: tf.TensorSpec([None, None], tf.string, name=name) for name in names}
        return {EXCLUDE_HISTORY: tf.TensorSpec([None], tf.bool, name=EXCLUDE_HISTORY)} | lists

    def history_ids(
        self, history_item: tf.Tensor, length: tf.Tensor, inputs: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """Item ids of the whole history, also of events that the model does not read.

        Args:
          history_item: raw ids `(B, H)` of the request.
          length: of the histories `(B,)`.
          inputs: transformed features of the newest L events.
        """

        def all_events() -> tf.Tensor:
            filled = tf.sequence_mask(length, tf.shape(history_item)[1])
            return self._requests.ids(tf.where(filled, history_item, ""))

        longer = tf.shape(history_item)[1] > self._requests.length
        return tf.cond(longer, all_events, lambda: inputs[features.HISTORY_ITEM])

    def left_out(self, given: Mapping[str, tf.Tensor], history: tf.Tensor) -> tf.Tensor:
        """Item ids `(B, E')` that a request leaves out, of those of the history `(B, H)`, too."""
        history = tf.where(given[EXCLUDE_HISTORY][:, None], history, tf.zeros_like(history))
        return tf.concat([history, self._requests.ids(given[EXCLUDE])], axis=1)

    def kept_to(self, given: Mapping[str, tf.Tensor]) -> Allowed:
        """Whether the lists of a request allow an item of the catalogue."""
        items, wanted = given[ONLY_ITEMS], given[ONLY_VALUES]
        rows = self._catalogue.rows(self._requests.ids(items))
        fields = self._fields if self._attributes else {}
        values = self._attributes.values(self._catalogue.ids) if self._attributes else {}

        def of_rows(
            any_item: tf.Tensor, rows: tf.Tensor, any_value: tf.Tensor, *ids: tf.Tensor
        ) -> tf.Tensor:
            found = ~any_value
            for own, (name, (size, _)) in zip(ids, fields.items(), strict=True):
                hit = _marked(own, size) & (tf.range(size) != item_table.PADDING)
                found |= tf.reduce_any(tf.gather(hit, values[name], axis=1), axis=2)
            return (_marked(rows, self._catalogue.size) | ~any_item) & found

        ids = [_value_ids(wanted, name, lines) for name, (_, lines) in fields.items()]
        return Allowed([_any(items), rows, _any(wanted), *ids], of_rows)


def _value_ids(wanted: tf.Tensor, field: str, lines: Any) -> tf.Tensor:
    """The value ids of a field among texts `field=value` `(B, V)`; padding for other texts."""
    prefix = f"{field}="
    ours = tf.strings.regex_full_match(wanted, re.escape(prefix) + r"(?s:.*)")
    texts = tf.where(ours, wanted, prefix)
    texts = tf.strings.substr(texts, len(prefix.encode()), 1 << 30)
    # The table has no "", so that values of other fields become padding.
    line = lines.lookup(texts)
    return tf.where(line >= 0, item_table.FIRST_VALUE + line, item_table.PADDING)


def _any(texts: tf.Tensor) -> tf.Tensor:
    """Whether a row `(B, N)` has a text that is not "", `(B, 1)`."""
    return tf.reduce_any(tf.not_equal(texts, ""), axis=1, keepdims=True)


def _marked(index: tf.Tensor, size: int) -> tf.Tensor:
    """`(B, size)`, True at the indices `(B, N)` of each row."""
    rows = tf.shape(index, tf.int64)
    index = tf.cast(index, tf.int64)
    batch = tf.broadcast_to(tf.range(rows[0])[:, None], rows)
    shape = tf.stack([rows[0], tf.constant(size, tf.int64)])
    ones = tf.ones(rows, tf.int32)
    return tf.scatter_nd(tf.stack([batch, index], axis=2), ones, shape) > 0
