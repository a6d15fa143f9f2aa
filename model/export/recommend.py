"""The signatures `retrieve`, `recommend` and `recommend_filtered`: the best of the catalogue.

The first stage takes the items with the largest inner products of user and item vector, and the
model ranks them. So an answer needs one pass over the vectors of the catalogue, one pass of the
model over the candidates, and one encoding of the history.

Unusual requests have defined answers:
- With an empty history, the user of the first stage is a constant, and the answer is what users
  without a past choose.
- Ids of a request that the catalogue does not know are ignored where they leave items out, and
  are not recommended where they keep to items.
- Equal scores are in the order of the first stage, and equal inner products in that of the
  vocabulary, most frequent first.
- An answer is as wide as the largest `k` of its rows. Places that have no item, because a row
  asked for fewer or fewer are left, have the id "", the score 0 and the position 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from model.export.catalogue import Catalogue
from model.export.item_filter import ItemFilter
from model.export.requests import Requests
from model.ranker import Ranker
from transforms import features

K = "k"
ANSWER = ("items", "scores", "first_stage")


class Candidates(NamedTuple):
    """Items of the first stage, best first.

    Attributes:
      rows: of the catalogue `(B, M)`.
      scores: inner products `(B, M)`, -inf for places without an item.
    """

    rows: tf.Tensor
    scores: tf.Tensor


class Recommender:
    """Both stages behind the Transform graph.

    Args:
      ranker: with a first stage.
      catalogue: its items.
      requests: reads histories.
    """

    def __init__(self, ranker: Ranker, catalogue: Catalogue, requests: Requests):
        assert ranker.retrieval is not None
        self.ranker, self.catalogue, self._requests = ranker, catalogue, requests
        self._head = ranker.retrieval
        self._filter = ItemFilter(catalogue, ranker.encoder.attributes, requests)

    @property
    def owned(self) -> list[Any]:
        """Variables and tables, for the object that is exported."""
        return [*self.catalogue.variables, *self._filter.tables]

    def signatures(self) -> dict[str, tuple[Callable[..., Any], dict[str, tf.TensorSpec]]]:
        """The functions by name, with their inputs beside the history."""
        k = {K: tf.TensorSpec([None], tf.int64, name=K)}
        return {
            "retrieve": (self.retrieve, k),
            "recommend": (self.recommend, k),
            "recommend_filtered": (self.recommend_filtered, k | self._filter.inputs()),
        }

    def retrieve(
        self,
        history_item: tf.Tensor,
        history_time: tf.Tensor,
        history_length: tf.Tensor,
        request_time: tf.Tensor,
        k: tf.Tensor,
        **events: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """The items of the first stage alone, without those of the history.

        Args:
          history_item, history_time, history_length, request_time, **events: as for `rank`.
          k: how many items, `(B,)`.

        Returns:
          a dict with `items`, raw ids, `scores`, cosines, and `first_stage`, positions from
          1; each `(B, K)`.
        """
        history = (history_item, history_time, history_length, request_time)
        inputs, length = self._requests.histories(*history, events, {K: k})
        seen = self._filter.history_ids(history_item, length, inputs)
        rows, scores = self._first_stage(inputs, _most(k), seen)
        position = tf.broadcast_to(tf.range(tf.shape(rows)[1]) + 1, tf.shape(rows))
        return self._answer(k, rows, scores, position, scores > -float("inf"))

    def recommend(
        self,
        history_item: tf.Tensor,
        history_time: tf.Tensor,
        history_length: tf.Tensor,
        request_time: tf.Tensor,
        k: tf.Tensor,
        **events: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """The best items of the catalogue, without those of the history.

        Args:
          history_item, history_time, history_length, request_time, **events: as for `rank`.
          k: how many items, `(B,)`.

        Returns:
          a dict with `items`, raw ids, `scores`, probabilities, and `first_stage`, the positions
          of the items in the first stage, from 1; each `(B, K)`.
        """
        history = (history_item, history_time, history_length, request_time)
        inputs, length = self._requests.histories(*history, events, {K: k})
        seen = self._filter.history_ids(history_item, length, inputs)
        return self._ranked(inputs, k, seen)

    def recommend_filtered(
        self,
        history_item: tf.Tensor,
        history_time: tf.Tensor,
        history_length: tf.Tensor,
        request_time: tf.Tensor,
        k: tf.Tensor,
        **others: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """The same, and the request says which items may be in the answer.

        Args:
          history_item, history_time, history_length, request_time, k: as for `recommend`.
          **others: the inputs of `ItemFilter`, and event fields.
        """
        given = {name: others.pop(name) for name in self._filter.inputs()}
        history = (history_item, history_time, history_length, request_time)
        inputs, length = self._requests.histories(*history, others, {K: k, **given})
        seen = self._filter.history_ids(history_item, length, inputs)
        return self._ranked(
            inputs, k, self._filter.left_out(given, seen), self._filter.kept_to(given)
        )

    def _first_stage(
        self,
        inputs: dict[str, tf.Tensor],
        count: tf.Tensor,
        left_out: tf.Tensor,
        kept_to: tf.Tensor | None = None,
    ) -> Candidates:
        """The items with the largest inner products.

        Args:
          inputs: transformed features of B histories.
          count: M, a scalar; as many as the catalogue has, if that is less.
          left_out: item ids `(B, E)` that must not be in the answer; 0 is none.
          kept_to: whether an item may be in the answer, `(B, R)` by row of the catalogue.
        """
        catalogue = self.catalogue
        vectors = tf.gather(catalogue.vectors, catalogue.rows(inputs[features.HISTORY_ITEM]))
        users = self._head.users(inputs, vectors)
        scores = tf.linalg.matmul(users, catalogue.vectors, transpose_b=True)
        never = tf.constant(-float("inf"))
        if kept_to is not None:
            scores = tf.where(kept_to, scores, never)
        size = tf.shape(scores, tf.int64)[0]
        nameless = tf.tile(tf.range(catalogue.first_known, dtype=tf.int64)[None], [size, 1])
        rows = tf.concat([catalogue.rows(left_out), nameless], axis=1)
        batch = tf.broadcast_to(tf.range(size)[:, None], tf.shape(rows, tf.int64))
        scores = tf.tensor_scatter_nd_update(
            scores, tf.stack([batch, rows], axis=2), tf.fill(tf.shape(rows), never)
        )
        best = tf.math.top_k(scores, tf.minimum(count, catalogue.size))
        return Candidates(best.indices, best.values)

    def _ranked(
        self,
        inputs: dict[str, tf.Tensor],
        k: tf.Tensor,
        left_out: tf.Tensor,
        kept_to: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """The answer: the model ranks the items of the first stage."""
        most = _most(k)
        count = tf.maximum(most, self._head.candidates)
        candidates = self._first_stage(inputs, count, left_out, kept_to)
        ids = tf.gather(self.catalogue.ids, candidates.rows)
        logits = self.ranker.score(self.ranker.encode(inputs), ids)
        found = candidates.scores > -float("inf")
        logits = tf.where(found, logits, logits.dtype.min)
        best = tf.math.top_k(logits, tf.minimum(most, tf.shape(logits)[1]))
        rows, found = (
            tf.gather(each, best.indices, batch_dims=1) for each in (candidates.rows, found)
        )
        scores = self.ranker.probabilities(best.values)
        return self._answer(k, rows, scores, best.indices + 1, found)

    def _answer(
        self,
        k: tf.Tensor,
        rows: tf.Tensor,
        scores: tf.Tensor,
        position: tf.Tensor,
        found: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        answered = found & (tf.range(tf.shape(rows, tf.int64)[1]) < k[:, None])
        names = tf.gather(self.catalogue.names, rows)
        values = (names, scores, tf.cast(position, tf.int64))
        return {
            name: tf.where(answered, value, tf.zeros_like(value))
            for name, value in zip(ANSWER, values, strict=True)
        }


def _most(k: tf.Tensor) -> tf.Tensor:
    """The largest k of a request, int32; 0 for none."""
    most = tf.reduce_max(tf.concat([k, tf.zeros([1], k.dtype)], axis=0))
    return tf.cast(tf.minimum(most, tf.int32.max), tf.int32)
