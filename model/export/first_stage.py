"""The first stage inside an export: the items of the catalogue with the largest cosines."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from model.export.catalogue import Catalogue
from model.retrieval.retrieval_head import RetrievalHead, newest_events
from transforms import features

# Cosines that are computed at once, unless one row has more: 16 MB. A product of several rows with
# the catalogue reads its vectors once.
_COSINES = 1 << 22


class Candidates(NamedTuple):
    """Items of the first stage, best first.

    Attributes:
      rows: of the catalogue `(B, M)`.
      scores: cosines `(B, M)`, -inf for places without an item.
    """

    rows: tf.Tensor
    scores: tf.Tensor


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
        kept_to: tf.Tensor | None = None,
    ) -> Candidates:
        """The items with the largest cosines.

        Args:
          inputs: transformed features of B histories.
          count: M, a scalar; as many as the catalogue has, if that is less.
          left_out: item ids `(B, E)` that must not be in the answer; 0 is none.
          kept_to: whether an item may be in the answer, `(B, R)` by row of the catalogue.
        """
        catalogue = self._catalogue
        newest = newest_events(inputs)
        all_vectors = catalogue.vectors.read_value()
        vectors = tf.gather(all_vectors, catalogue.rows(newest[features.HISTORY_ITEM]))
        users = self._head.users(newest, vectors)
        count = tf.minimum(count, catalogue.size)

        def best(block: Sequence[tf.Tensor]) -> Candidates:
            found = tf.math.top_k(self._cosines(*block), count)
            return Candidates(found.indices, found.values)

        rows = [users, catalogue.rows(left_out), *([] if kept_to is None else [kept_to])]
        of_block = Candidates(
            tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None], tf.float32)
        )
        blocks = _blocks(rows, max(1, _COSINES // catalogue.size))
        found = tf.map_fn(best, blocks, fn_output_signature=of_block)
        batch = tf.shape(users)[0]
        return Candidates(*(_rows(each, batch) for each in found))

    def _cosines(
        self, users: tf.Tensor, left_out: tf.Tensor, kept_to: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Cosines `(B, R)` of users `(B, D)`; -inf for items that must not be in the answer."""
        never = tf.constant(-float("inf"))
        cosines = tf.matmul(users, self._catalogue.vectors, transpose_b=True)
        if kept_to is not None:
            cosines = tf.where(kept_to, cosines, never)
        row = tf.range(tf.shape(users, tf.int64)[0])[:, None]
        nameless = tf.range(self._catalogue.first_known, dtype=tf.int64)[None]
        left_out = tf.concat([left_out, tf.tile(nameless, [tf.size(row), 1])], axis=1)
        places = tf.stack([tf.broadcast_to(row, tf.shape(left_out)), left_out], axis=2)
        return tf.tensor_scatter_nd_update(cosines, places, tf.fill(tf.shape(left_out), never))


def _blocks(values: Sequence[tf.Tensor], at_once: int) -> list[tf.Tensor]:
    """Cuts rows into blocks of equal size, the last one filled up with zeros.

    Args:
      values: each `(B, ...)`, with the same B.
      at_once: rows of a block, at most.

    Returns:
      the values `(blocks, rows, ...)`.
    """
    batch = tf.shape(values[0])[0]
    blocks = tf.maximum(-(-batch // at_once), 1)
    rows = -(-batch // blocks)

    def cut(value: tf.Tensor) -> tf.Tensor:
        of_row = tf.shape(value)[1:]
        more = tf.zeros(tf.concat([[blocks * rows - batch], of_row], axis=0), value.dtype)
        return tf.reshape(
            tf.concat([value, more], axis=0), tf.concat([[blocks, rows], of_row], axis=0)
        )

    return [cut(value) for value in values]


def _rows(blocks: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
    """The first B rows of blocks `(blocks, rows, M)`."""
    shape = tf.shape(blocks)
    return tf.reshape(blocks, [shape[0] * shape[1], shape[2]])[:batch]
