"""The signatures `retrieve`, `recommend` and `recommend_filtered`: the best of the catalogue.

The first stage takes the items with the largest cosines of user and item vector, and the model
ranks them. So an answer needs one pass over the vectors of the catalogue, one pass of the model
over the candidates, and one encoding of the history.

The order is that of

    score(v) = logit(v) + log n(v) + cos(u, v) / T,

the sum of two estimates of `log p(v | u)`, but for a constant: of the model, whose logits need the
share n of an item among the negatives (retrieval_head.py), and of the first stage. The logits are
calibrated. Alone they would order badly: a rare item that fits a user is likelier than a negative,
and still less likely than a frequent item that fits as well.

Histories are encoded together, the model ranks a row after the other, and the catalogue is searched
by blocks of rows. So the memory of a request does not depend on its number of rows.

Unusual requests have defined answers:
- With an empty history, the user of the first stage is a constant, and the answer is what users
  without a past choose.
- Ids of a request that the catalogue does not know are ignored where they leave items out, and
  are not recommended where they keep to items.
- Equal scores are in the order of the first stage, and equal cosines in that of the vocabulary,
  most frequent first.
- An answer is as wide as the largest `k` of its rows, and 10,000 items at most. Places that have
  no item, because a row asked for fewer or fewer are left, have the id "", and 0 in the other
  outputs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from model.export import blocks
from model.export.catalogue import Catalogue
from model.export.first_stage import Allowed, FirstStage
from model.export.item_filter import ItemFilter
from model.export.requests import Requests
from model.ranker import Ranker
from model.retrieval.retrieval_head import TEMPERATURE
from model.scorer import Encoded

K = "k"
MOST = 10_000  # a larger k would have the model rank a whole catalogue in one request


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
        self._first_stage = FirstStage(ranker.retrieval, catalogue)
        self._filter = ItemFilter(catalogue, ranker.encoder.attributes, requests)

    @property
    def tables(self) -> list[Any]:
        """The lookup tables, for the object that is exported."""
        return self._filter.tables

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
          history_item: raw ids `(B, H)`, as for `rank`.
          history_time: seconds since 1970 `(B, H)`.
          history_length: `(B,)`.
          request_time: seconds since 1970 `(B,)`.
          k: how many items, `(B,)`.
          **events: values `(B, H)` of each event field.

        Returns:
          a dict with `items`, raw ids, and `scores`, cosines; each `(B, K)`.
        """
        history = (history_item, history_time, history_length, request_time)
        inputs, seen = self._read(history, events, {K: k})
        rows, scores = self._first_stage.candidates(inputs, _most(k), seen)
        return self._answer(k, rows, scores > -float("inf"), scores=scores)

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
          history_item: raw ids `(B, H)`, as for `rank`.
          history_time: seconds since 1970 `(B, H)`.
          history_length: `(B,)`.
          request_time: seconds since 1970 `(B,)`.
          k: how many items, `(B,)`.
          **events: values `(B, H)` of each event field.

        Returns:
          a dict with `items`, raw ids; `scores`, which decide the order; `probabilities`, the
          scores of `rank`; and `first_stage`, the positions of the items in the first stage, from
          1. Each `(B, K)`.
        """
        history = (history_item, history_time, history_length, request_time)
        inputs, seen = self._read(history, events, {K: k})
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
          history_item: raw ids `(B, H)`, as for `rank`.
          history_time: seconds since 1970 `(B, H)`.
          history_length: `(B,)`.
          request_time: seconds since 1970 `(B,)`.
          k: how many items, `(B,)`.
          **others: the inputs of `ItemFilter`, and event fields.
        """
        given = {name: others.pop(name) for name in self._filter.inputs()}
        history = (history_item, history_time, history_length, request_time)
        inputs, seen = self._read(history, others, {K: k, **given})
        return self._ranked(
            inputs, k, self._filter.left_out(given, seen), self._filter.kept_to(given)
        )

    def _read(
        self,
        history: tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor],
        events: dict[str, tf.Tensor],
        others: dict[str, tf.Tensor],
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Transformed features of a request, and the item ids of its whole histories."""
        inputs, length = self._requests.histories(*history, events, others)
        return inputs, self._filter.history_ids(history[0], length, inputs)

    def _ranked(
        self,
        inputs: dict[str, tf.Tensor],
        k: tf.Tensor,
        left_out: tf.Tensor,
        kept_to: Allowed | None = None,
    ) -> dict[str, tf.Tensor]:
        """The answer: the model ranks the items of the first stage."""
        most = _most(k)
        count = tf.maximum(most, self._head.candidates)
        candidates = self._first_stage.candidates(inputs, count, left_out, kept_to)
        ids = tf.gather(self.catalogue.ids.read_value(), candidates.rows)
        logits = self.ranker.calibrated(self._logits(self.ranker.encode(inputs), ids))
        shares = tf.gather(self.catalogue.log_shares, candidates.rows)
        scores = logits + shares + candidates.scores / TEMPERATURE
        best = tf.math.top_k(scores, tf.minimum(most, tf.shape(logits)[1]))
        rows, logits = (
            tf.gather(each, best.indices, batch_dims=1) for each in (candidates.rows, logits)
        )
        return self._answer(
            k,
            rows,
            best.values > -float("inf"),
            scores=best.values,
            probabilities=tf.sigmoid(logits),
            first_stage=tf.cast(best.indices + 1, tf.int64),
        )

    def _logits(self, encoded: Encoded, ids: tf.Tensor) -> tf.Tensor:
        """Logits `(B, M)` of item ids `(B, M)`."""

        def of_row(row: Sequence[tf.Tensor]) -> tf.Tensor:
            *parts, candidates = row
            return self.ranker.score(Encoded(*parts), candidates)

        logits = tf.map_fn(
            of_row,
            blocks.cut([*encoded, ids], 1),
            fn_output_signature=tf.TensorSpec([None, None], tf.float32),
        )
        return blocks.joined(logits, tf.shape(ids)[0])

    def _answer(
        self, k: tf.Tensor, rows: tf.Tensor, found: tf.Tensor, **values: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The values with the names of the items; empty where no item was found, and beyond k."""
        answered = found & (tf.range(tf.shape(rows, tf.int64)[1]) < k[:, None])
        values["items"] = tf.gather(self.catalogue.names, rows)
        return {
            name: tf.where(answered, value, tf.zeros_like(value)) for name, value in values.items()
        }


def _most(k: tf.Tensor) -> tf.Tensor:
    """The largest k of a request, int32, from 0 to `MOST`."""
    most = tf.reduce_max(tf.concat([k, tf.zeros([1], k.dtype)], axis=0))
    return tf.cast(tf.minimum(most, MOST), tf.int32)
