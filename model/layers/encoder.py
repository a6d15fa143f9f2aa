"""The encoder: embeddings of the history and of the candidates, the same for every model."""

import re
import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from transforms import features, item_table
from transforms.item_attributes import ItemAttributes

_FEW = 1_000  # rows of a table, up to which a dense gradient is faster


class DistinctItems(NamedTuple):
    """The items of a batch, each once.

    Attributes:
      ids: int32 `(N,)`.
      vectors: `(N, D)`.
    """

    ids: tf.Tensor
    vectors: tf.Tensor


class HistoryEncoder(tf.keras.layers.Layer):
    """Sum of item, elapsed-time and position embeddings (IMN paper, eq. 1).

    `e_j = item(j) + time(j) + position(j) + Σ_f event_f(j)`. A candidate is `item(v)`, from the
    same tables. `event_f` is the embedding of the event's value of an event field.
    Without attributes, `item` is the embedding of the id. With F fields of attributes it is

        item(j) = id(j) + Σ_f 1/|f(j)| Σ_{a ∈ f(j)} field_f(a)

    or, with `projection`, a product of a matrix with the 1 + F vectors side by side. Items of the
    catalogue that training never saw, and items whose id is hidden (layers/id_dropout.py), share
    the last row of the id table.

    Positions count back from the request: the newest event has position 0. Events beyond
    `max_positions` share the last position, so that L may be any number.

    Example:

        encoder = HistoryEncoder(num_items=1_000, dim=32, max_positions=100)
        history, mask = encoder(items, length, elapsed)  # (B, L, 32) and (B, L)

    Args:
      num_items: ids of padding, out-of-vocabulary buckets and the vocabulary.
      dim: D.
      max_positions: rows of the position table; 0 for no positions.
      use_time: whether to add the embedding of the elapsed time.
      initial_scale: standard deviation of the initial values.
      use_ids: whether to read ids; without, items are known by their attributes alone.
      projection: whether a matrix combines id and fields, in place of the sum.
      attributes: the item table, or None. It is no part of `get_config`.
      event_fields: number of value ids by event field.

    Raises:
      ValueError: without ids and without attributes.
    """

    def __init__(
        self,
        num_items: int,
        dim: int,
        max_positions: int = 0,
        use_time: bool = True,
        initial_scale: float = 0.01,
        use_ids: bool = True,
        projection: bool = False,
        attributes: ItemAttributes | None = None,
        event_fields: Mapping[str, int] = types.MappingProxyType({}),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not use_ids and attributes is None:
            raise ValueError(
                "`use_ids` must be true without attributes: nothing is left to know items by. "
                "Received: False. Give a catalogue (IMN_ITEMS), or leave ids on."
            )
        self.num_items = num_items
        self.dim = dim
        self.max_positions = max_positions
        self.use_time = use_time
        self.initial_scale = initial_scale
        self.use_ids = use_ids
        self.projection = projection
        self.attributes = attributes
        self.event_fields = event_fields

    def build(self, input_shape: Any) -> None:
        """Creates the tables."""
        rows = {}
        if self.use_ids:
            rows["item"] = self.num_items + (self.attributes is not None)
        if self.use_time:
            rows["time"] = features.NUM_TIME_BUCKETS
        if self.max_positions:
            rows["position"] = self.max_positions
        sizes = self.attributes.sizes if self.attributes else {}
        rows |= {f"field_{name}": count for name, count in sizes.items()}
        rows |= {
            features.event_vocabulary(name): count for name, count in self.event_fields.items()
        }
        self.tables = {
            name: self.add_weight(
                # A column of a file may have any name, a variable of TensorFlow may not.
                name=re.sub("[^A-Za-z0-9_]", "_", name) + "_table",
                shape=(count, self.dim),
                initializer=tf.keras.initializers.RandomNormal(stddev=self.initial_scale),
            )
            for name, count in rows.items()
        }
        if self.projection and self.attributes:
            self.combine = tf.keras.layers.Dense(self.dim, use_bias=False)
        super().build(input_shape)

    def call(
        self,
        items: tf.Tensor,
        length: tf.Tensor,
        elapsed: tf.Tensor | None = None,
        distinct: DistinctItems | None = None,
        events: Mapping[str, tf.Tensor] = types.MappingProxyType({}),
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Encodes histories.

        Args:
          items: int64 ids `(B, L)`, oldest first, padded on the right.
          length: number of events in each history, `(B,)` or `(B, 1)`. It alone decides what is
            padding; ids in the padding are never looked up.
          elapsed: int64 buckets `(B, L)`; used with `use_time` only.
          distinct: of `distinct_items`, if `items` are indices into them.
          events: int64 value ids `(B, L)` of each event field, by its feature; others are not read.

        Returns:
          `e` `(B, L, D)`, oldest first but padded on the left, so that the newest event is in the
          last column of every row; zeros for padding. And the mask `(B, L)`, True for events.

        Raises:
          ValueError: without `elapsed`, if the layer has `use_time`, and without an event field.
        """
        if self.use_time and elapsed is None:
            raise ValueError("`elapsed` must be given to an encoder with `use_time`.")
        count = tf.shape(items, out_type=tf.int64)[1]
        length = tf.clip_by_value(tf.reshape(tf.cast(length, tf.int64), [-1]), 0, count)
        mask = tf.range(count) >= count - length[:, None]
        encoded = self.candidates(aligned(_narrow(items), length, mask), distinct)
        if self.use_time:
            # Each row of the table is looked up once, so that its gradient stays sparse.
            rows = tf.gather(self.tables["time"], tf.range(features.NUM_TIME_BUCKETS))
            encoded += gather_few(rows, aligned(elapsed, length, mask))
        for name, rows in self.event_fields.items():
            values = aligned(self._values(name, events), length, mask)
            table = self.tables[features.event_vocabulary(name)]
            if rows <= _FEW:
                encoded += gather_few(tf.gather(table, tf.range(rows)), values)
            else:
                encoded += tf.gather(table, _narrow(values))
        if self.max_positions:
            back = tf.minimum(tf.range(count - 1, -1, -1), self.max_positions - 1)
            encoded += tf.gather(self.tables["position"], back)
        return encoded * tf.cast(mask, encoded.dtype)[:, :, None], mask

    def candidates(self, items: tf.Tensor, distinct: DistinctItems | None = None) -> tf.Tensor:
        """Embeddings `(B, K, D)` of candidate ids `(B, K)`; call the layer first.

        Args:
          items: ids, or indices into `distinct`.
          distinct: of `distinct_items`, or None.
        """
        if distinct is not None:
            return tf.gather(distinct.vectors, items)
        if self.attributes is None:
            return tf.gather(self.tables["item"], _narrow(items))
        distinct, (items,) = self.distinct_items([items])
        return tf.gather(distinct.vectors, items)

    def distinct_items(self, ids: Sequence[tf.Tensor]) -> tuple[DistinctItems, list[tf.Tensor]]:
        """Item vectors of some ids, each computed once: attributes cost more than a gather.

        Args:
          ids: integer tensors of any shape.

        Returns:
          the N distinct ids with their vectors, and for each tensor the indices into them.
        """
        flat = [tf.reshape(_narrow(each), [-1]) for each in ids]
        distinct, index = tf.unique(tf.concat(flat, axis=0))
        parts = tf.split(index, [tf.size(each) for each in flat])
        shaped = [tf.reshape(part, tf.shape(each)) for part, each in zip(parts, ids, strict=True)]
        return DistinctItems(distinct, self._items(distinct)), shaped

    def id_rows(self, items: tf.Tensor) -> tf.Tensor:
        """Rows `(N, D)` of the id table; `use_ids` must be true."""
        items = _narrow(items)
        if self.attributes is not None:
            new = tf.constant(self.num_items, tf.int32)
            items = tf.where(items < 0, new, tf.minimum(items, new))
        return tf.gather(self.tables["item"], items)

    @staticmethod
    def _values(name: str, events: Mapping[str, tf.Tensor]) -> tf.Tensor:
        feature = features.history_feature(name)
        if feature not in events:
            raise ValueError(
                f"`events` must have the feature `{feature}` for an encoder of this event field. "
                f"Received: {sorted(events)}."
            )
        return events[feature]

    def _items(self, items: tf.Tensor) -> tf.Tensor:
        """`item` `(N, D)` of distinct ids `(N,)`; a negative id is hidden."""
        if self.attributes is None:
            return tf.gather(self.tables["item"], items)
        parts = [self.id_rows(items)] if self.use_ids else []
        for name, values in self.attributes.values(tf.abs(items)).items():
            filled = values != item_table.PADDING
            segment = tf.where(filled)[:, 0]
            # The gradient of a field's table is as sparse as the batch.
            used, index = tf.unique(tf.boolean_mask(values, filled))
            rows = tf.gather(self.tables[f"field_{name}"], used)
            parts.append(tf.sparse.segment_mean(rows, index, segment))
        if self.projection:
            return self.combine(tf.concat(parts, axis=1))
        return tf.add_n(parts)

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same layer, for Keras."""
        return super().get_config() | {
            "num_items": self.num_items,
            "dim": self.dim,
            "max_positions": self.max_positions,
            "use_time": self.use_time,
            "initial_scale": self.initial_scale,
            "use_ids": self.use_ids,
            "projection": self.projection,
            "event_fields": dict(self.event_fields),
        }


def aligned(values: tf.Tensor, length: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Moves the events of each row from the left to the right; 0 elsewhere."""
    aligned = tf.reverse(tf.reverse_sequence(values, length, seq_axis=1), axis=[1])
    return tf.where(mask, aligned, tf.zeros_like(aligned))


def _narrow(items: tf.Tensor) -> tf.Tensor:
    """Ids as int32, for which summing the gradients of repeated ids takes a third of the time."""
    return tf.cast(items, tf.int32)


@tf.custom_gradient
def gather_few(rows: tf.Tensor, indices: tf.Tensor) -> Any:
    """`tf.gather(rows, indices)` with a dense gradient instead of `IndexedSlices`.

    Summing `(B, L)` slices of a few dozen rows later would be slower.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        flat = tf.reshape(upstream, [-1, rows.shape[1]])
        return tf.math.unsorted_segment_sum(flat, tf.reshape(indices, [-1]), rows.shape[0]), None

    return tf.gather(rows, indices), gradient
