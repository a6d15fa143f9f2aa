"""The first stage inside an export: the items of the catalogue with the largest cosines."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from model.export import blocks
from model.export.catalogue import Catalogue
from model.retrieval.retrieval_head import RetrievalHead, newest_events
from transforms import features

# Cosines that are computed at once, unless one row has more: 16 MB. A product of several rows with
# the catalogue reads its vectors once.
_COSINES = 1 << 22
_NEVER = -float("inf")


class Candidates(NamedTuple):
    """Items of the first stage, best first.

    Attributes:
      rows: of the catalogue `(B, M)`.
      scores: cosines `(B, M)`, -inf for places without an item.
    """

    rows: tf.Tensor
    scores: tf.Tensor


class Allowed(NamedTuple):
    """Which items may be in the answers of B users.

    Attributes:
      values: tensors `(B, ...)`.
      of_rows: from these values of some of the users, `(b, ...)`, whether each item may be in the
        answer, `(b, R)` by row of the catalogue. Not for all users at once: B times R may be more
        than memory holds.
    """

    values: Sequence[tf.Tensor]
    of_rows: Callable[..., tf.Tensor]


class FirstStage:
    """Compares users with all items.

    Args:
      head: the trained first stage.
      catalogue: its items.
    """

    def __init__(self, head: RetrievalHead, catalogue: Catalogue):
        self._head, self._catalogue = head, catalogue

    def candidates(
        self,
        inputs: Mapping[str, tf.Tensor],
        count: tf.Tensor,
        left_out: tf.Tensor,
        kept_to: Allowed | None = None,
    ) -> Candidates:
        """The items with the largest cosines.

        Args:
          inputs: transformed features of B histories.
          count: M, a scalar; as many as the catalogue has, if that is less.
          left_out: item ids `(B, E)` that must not be in the answer; 0 is none.
          kept_to: which items may be in the answer; None is all.
        """
        catalogue = self._catalogue
        newest = newest_events(inputs)
        all_vectors = catalogue.vectors.read_value()
        vectors = tf.gather(all_vectors, catalogue.rows(newest[features.HISTORY_ITEM]))
        users = self._head.users(newest, vectors)
        count = tf.minimum(count, catalogue.size)

        def best(block: Sequence[tf.Tensor]) -> Candidates:
            users, left_out, *values = block
            cosines = self._cosines(users, left_out)
            if kept_to:
                cosines = tf.where(kept_to.of_rows(*values), cosines, _NEVER)
            found = tf.math.top_k(cosines, count)
            return Candidates(found.indices, found.values)

        rows = [users, catalogue.rows(left_out), *(kept_to.values if kept_to else ())]
        of_block = Candidates(
            tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None], tf.float32)
        )
        cut = blocks.cut(rows, max(1, _COSINES // catalogue.size))
        found = tf.map_fn(best, cut, fn_output_signature=of_block)
        batch = tf.shape(users)[0]
        return Candidates(*(blocks.joined(each, batch) for each in found))

    def _cosines(self, users: tf.Tensor, left_out: tf.Tensor) -> tf.Tensor:
        """Cosines `(B, R)` of users `(B, D)`; -inf for items to leave out, and for unknown ids."""
        cosines = tf.matmul(users, self._catalogue.vectors, transpose_b=True)
        row = tf.range(tf.shape(users, tf.int64)[0])[:, None]
        nameless = tf.range(self._catalogue.first_known, dtype=tf.int64)[None]
        left_out = tf.concat([left_out, tf.tile(nameless, [tf.size(row), 1])], axis=1)
        places = tf.stack([tf.broadcast_to(row, tf.shape(left_out)), left_out], axis=2)
        return tf.tensor_scatter_nd_update(cosines, places, tf.fill(tf.shape(left_out), _NEVER))
