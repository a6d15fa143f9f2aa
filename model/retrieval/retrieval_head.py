"""The first stage beside a ranker: item vectors, user vectors, and the loss that trains both."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from model.layers.encoder import HistoryEncoder
from model.retrieval.user_tower import UserTower
from transforms import features
from transforms.item_attributes import ItemAttributes

_INITIAL_SCALE = 0.05
EVENTS = 20  # newest events of a history that a user depends on
TEMPERATURE = 0.1  # of the cosines: cos / 0.1 estimates log p(v | u)

_OF_USERS = (features.HISTORY_LENGTH, features.HISTORY_ITEM, features.HISTORY_ELAPSED)


class RetrievalHead(tf.keras.layers.Layer):
    """Scores an item by the cosine of user and item vector, for any model and its samples.

    It has tables of its own, and shares nothing with the ranker: the weights of a ranker are the
    same with it and without it, and the first stage is the same for every model.

    The loss is a softmax over the targets of the batch. An item is drawn there as often as it is
    a target, so `log q` of its share q is taken from its score (Bengio & Senécal 2008; Yi et al.,
    RecSys 2019). The share is that of the targets so far, counted as training goes.

    The negatives are counted too. A ranker that tells the targets of users from sampled negatives
    learns `log p(v | u) / n(v)` with the share n of an item among the negatives, not
    `log p(v | u)`. With `log n` added, its logits order a whole catalogue (`negative_shares`).

    `tfrs.tasks.Retrieval` computes the same, but only in functions with AutoGraph, and it takes
    shares below 1e-6 for 1e-6, which most items of a large catalogue have.

    Args:
      candidates: how many items the ranker gets.
      num_items: ids of padding, out-of-vocabulary buckets and the vocabulary.
      dim: D of the vectors.
      use_time: whether users depend on the elapsed time of their events.
      use_ids: whether items have a vector of their id, or of their attributes alone.
      attributes: the item table, or None.
    """

    def __init__(
        self,
        candidates: int,
        num_items: int,
        dim: int,
        use_time: bool = True,
        use_ids: bool = True,
        attributes: ItemAttributes | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.candidates = candidates
        self.encoder = HistoryEncoder(
            num_items,
            dim,
            use_time=False,
            initial_scale=_INITIAL_SCALE,
            use_ids=use_ids,
            attributes=attributes,
        )
        self.tower = UserTower(dim, use_time)
        # By label, 0 and 1. New items of the catalogue are never targets, and share the last row.
        self.target_counts = self.add_weight(
            name="target_counts",
            shape=(num_items + 1, 2),
            dtype=tf.int32,
            initializer="zeros",
            trainable=False,
            aggregation=tf.VariableAggregation.SUM,
        )
        self.targets_counted = self.add_weight(
            name="targets_counted",
            shape=(),
            dtype=tf.int64,
            initializer="zeros",
            trainable=False,
            aggregation=tf.VariableAggregation.SUM,
        )

    def build_weights(self) -> None:
        """Creates the variables, which a call would do at the first batch."""
        self.encoder.build(None)
        self.tower.build(None)
        self.built = True

    def users(self, inputs: Mapping[str, tf.Tensor], vectors: tf.Tensor) -> tf.Tensor:
        """Vectors `(B, D)` of length 1 of the users.

        Args:
          inputs: of `newest_events`.
          vectors: of the items of the histories, of length 1, `(B, L, D)`.
        """
        length = tf.reshape(inputs[features.HISTORY_LENGTH], [-1])
        return unit(self.tower(vectors, length, inputs.get(features.HISTORY_ELAPSED)))

    def items(self, ids: tf.Tensor) -> tf.Tensor:
        """Vectors `(N, D)` of length 1 of item ids `(N,)`."""
        return unit(self.encoder.candidates(ids[:, None])[:, 0])

    def loss(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The mean loss of the positive rows of a training batch, a scalar; 0 without any.

        Counts the targets of the batch.

        Args:
          inputs: transformed features; the negative of an id is an item whose id is hidden.
        """
        is_positive = tf.reshape(inputs[features.LABEL], [-1]) == 1
        positive, negative = (tf.where(is_positive == wanted)[:, 0] for wanted in (True, False))
        targets = tf.reshape(inputs[features.TARGET_ITEM], [-1])
        rows = newest_events(
            {name: tf.gather(inputs[name], positive) for name in _OF_USERS if name in inputs}
        )
        history = rows[features.HISTORY_ITEM]
        if self.encoder.attributes is None:
            vectors = self.encoder.candidates(history)
            drawn = self.encoder.candidates(targets[:, None])[:, 0]
        else:
            distinct, index = self.encoder.distinct_items([history, targets])
            vectors, drawn = (tf.gather(distinct.vectors, each) for each in index)

        # The positive targets come first, then those of the other rows.
        order = tf.concat([positive, negative], axis=0)
        drawn = unit(tf.gather(drawn, order))
        ids = tf.gather(tf.abs(targets), order)
        share = self._counted_shares(ids, tf.range(tf.size(ids)) < tf.size(positive))
        same = ids[: tf.size(positive), None] == ids[None, :]
        own = tf.eye(tf.size(positive), tf.size(ids), dtype=tf.bool)
        logits = tf.matmul(self.users(rows, unit(vectors)), drawn, transpose_b=True)
        logits = logits / TEMPERATURE - tf.math.log(share)
        # Another row with the same target is no negative.
        logits = tf.where(own | ~same, logits, logits.dtype.min)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.range(tf.size(positive)), logits)
        return tf.math.divide_no_nan(
            tf.reduce_sum(losses), tf.cast(tf.size(positive), losses.dtype)
        )

    def negative_shares(self, ids: np.ndarray) -> np.ndarray:
        """The share of items among the negatives of training `(N,)`, with a count of 1 more each.

        Args:
          ids: item ids `(N,)`.
        """
        counts = self.target_counts.numpy()[:, 0]
        counts = counts[np.minimum(ids, len(counts) - 1)] + 1.0
        return counts / counts.sum()

    def _counted_shares(self, ids: tf.Tensor, positive: tf.Tensor) -> tf.Tensor:
        """Counts ids `(N,)`, and gives the share of each among all that were counted."""
        last = tf.constant(self.target_counts.shape[0] - 1, ids.dtype)
        ids = tf.minimum(ids, last)
        by_label = tf.stack([~positive, positive], axis=1)
        self.target_counts.scatter_add(tf.IndexedSlices(tf.cast(by_label, tf.int32), ids))
        self.targets_counted.assign_add(tf.size(ids, tf.int64))
        counts = tf.reduce_sum(tf.gather(self.target_counts, ids), axis=1)
        return tf.cast(counts, tf.float32) / tf.cast(self.targets_counted, tf.float32)


def newest_events(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Transformed features of at most `EVENTS` events, the newest of each history.

    Twenty events find as much as a hundred: recall@500 on eval of Beauty is .443 and .442, and a
    training step takes two fifths of the time (one seed, IMN's samples, attributes).
    """
    length = tf.reshape(tf.cast(inputs[features.HISTORY_LENGTH], tf.int64), [-1])
    width = tf.minimum(tf.shape(inputs[features.HISTORY_ITEM], tf.int64)[1], EVENTS)
    columns = tf.maximum(length - EVENTS, 0)[:, None] + tf.range(width)
    newest = {
        name: tf.gather(inputs[name], columns, batch_dims=1)
        for name in _OF_USERS[1:]
        if name in inputs
    }
    return newest | {features.HISTORY_LENGTH: tf.minimum(length, EVENTS)}


def unit(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors divided by their lengths; a vector of zeros stays."""
    return tf.math.l2_normalize(vectors, axis=-1)
