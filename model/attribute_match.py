"""How well the attributes of events match those of candidates: BM25, as in a search engine.

A block that selects events by their attributes reads it (baselines/ubr4ctr.py).
"""

import tensorflow as tf

from model.layers.block import SequenceBlock
from model.layers.encoder import DistinctItems, HistoryEncoder, aligned
from transforms import item_table
from transforms.item_attributes import ItemAttributes


def arguments(
    block: SequenceBlock,
    encoder: HistoryEncoder,
    items: tf.Tensor,
    mask: tf.Tensor,
    candidates: tf.Tensor,
    distinct: DistinctItems | None = None,
) -> dict[str, tf.Tensor]:
    """`relevance` as an argument of a block that selects by attributes; none for other blocks.

    Args:
      block: called with the result.
      encoder: has the item table.
      items: as the encoder got them, `(B, L)`, padded on the right.
      mask: as the encoder gave it, `(B, L)`, padded on the left.
      candidates: `(B, K)`.
      distinct: the items, if `items` and `candidates` are indices into them.
    """
    if not block.num_fields or encoder.attributes is None:
        return {}
    if distinct is not None:
        items, candidates = tf.gather(distinct.ids, items), tf.gather(distinct.ids, candidates)
    items = aligned(items, tf.reduce_sum(tf.cast(mask, tf.int64), axis=1), mask)
    return {"relevance": relevance(encoder.attributes, items, mask, candidates)}


def relevance(
    attributes: ItemAttributes, items: tf.Tensor, mask: tf.Tensor, candidates: tf.Tensor
) -> tf.Tensor:
    """BM25 of each event for each candidate and field.

    The documents are the N events of a history, the terms are the values of a field:

        r_f(j, v) = Σ_{a ∈ f(j) ∩ f(v)} log(1 + (N - n_a + 1/2) / (n_a + 1/2))

    with n_a the number of events that have the value a. An event has a value once and events have
    the same number of fields, so BM25's factors for term frequency and length are 1. Items that
    have no value of a field match nothing by it.

    Args:
      attributes: the item table.
      items: ids `(B, L)`, 0 for padding; negative ones are hidden ids.
      mask: `(B, L)`, True for events.
      candidates: ids `(B, K)`.

    Returns:
      `(B, L, K, F)` with the fields in the order of the table.
    """
    count = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1)[:, None]
    of_events = _values(attributes, items)
    of_candidates = _values(attributes, candidates)
    fields = []
    for name, values in of_candidates.items():
        total = tf.zeros([], tf.float32)
        for value in tf.unstack(values, axis=2):  # (B, K); an item has few values of a field
            same = of_events[name][:, :, None, :] == value[:, None, :, None]
            has = tf.reduce_any(same, axis=3) & (value >= item_table.FIRST_VALUE)[:, None]
            has = tf.cast(has & mask[:, :, None], tf.float32)
            events = tf.reduce_sum(has, axis=1)  # n_a, (B, K)
            total += has * tf.math.log1p((count - events + 0.5) / (events + 0.5))[:, None]
        fields.append(total)
    return tf.stack(fields, axis=3)


def _values(attributes: ItemAttributes, items: tf.Tensor) -> dict[str, tf.Tensor]:
    """Value ids `(B, N, M)` by field, of ids `(B, N)`."""
    flat = tf.abs(tf.cast(tf.reshape(items, [-1]), tf.int32))
    return {
        name: tf.reshape(values, tf.concat([tf.shape(items), [values.shape[1]]], axis=0))
        for name, values in attributes.values(flat).items()
    }
