"""From ids to embeddings: the history that every model reads, and its candidates."""

from typing import Any

import tensorflow as tf

from transforms import features


class HistoryEncoder(tf.keras.layers.Layer):
    """Sum of item, elapsed-time and position embeddings (IMN paper, eq. 1).

    `e_j = item(j) + time(j) + position(j)`; a candidate is `item(v)` alone, from
    the same table. Position counts back from the request: the newest event is 0.
    Events beyond `max_positions` share the last position, so any L can be read.

    Args:
      num_items: rows of the item table: padding, out-of-vocabulary ids, items.
      dim: D.
      max_positions: rows of the position table; 0 leaves positions out.
      use_time: whether elapsed time is read.
      initial_scale: standard deviation of the tables' first values.
    """

    def __init__(
        self,
        num_items: int,
        dim: int,
        max_positions: int = 0,
        use_time: bool = True,
        initial_scale: float = 0.01,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_items = num_items
        self.dim = dim
        self.max_positions = max_positions
        self.use_time = use_time
        self.initial_scale = initial_scale

    def build(self, input_shape: Any) -> None:
        """Makes the tables."""
        rows = {"item": self.num_items}
        if self.use_time:
            rows["time"] = features.NUM_TIME_BUCKETS
        if self.max_positions:
            rows["position"] = self.max_positions
        self.tables = {
            name: self.add_weight(
                name=f"{name}_table",
                shape=(count, self.dim),
                initializer=tf.keras.initializers.RandomNormal(stddev=self.initial_scale),
            )
            for name, count in rows.items()
        }
        super().build(input_shape)

    def call(
        self, items: tf.Tensor, length: tf.Tensor, elapsed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Encodes histories.

        Args:
          items: int64 ids `(B, L)`, oldest first, padded on the right.
          length: how many of the L are filled, `(B,)` or `(B, 1)`. It alone says
            what is padding: ids in padded places are never looked up.
          elapsed: int64 buckets `(B, L)`; read with `use_time` only.

        Returns:
          `e` `(B, L, D)`, oldest first but padded on the left, so that the newest
          event is the last column of every row; zero where padded. And the mask
          `(B, L)`. An empty history gives zeros and a mask without a True.
        """
        count = tf.shape(items, out_type=tf.int64)[1]
        length = tf.clip_by_value(tf.reshape(tf.cast(length, tf.int64), [-1]), 0, count)
        mask = tf.range(count) >= count - length[:, None]
        encoded = tf.gather(self.tables["item"], _aligned(_narrow(items), length, mask))
        if self.use_time:
            # Rows of the table are looked up once, so that its gradient stays sparse.
            rows = tf.gather(self.tables["time"], tf.range(features.NUM_TIME_BUCKETS))
            encoded += _few_rows(rows, _aligned(elapsed, length, mask))
        if self.max_positions:
            back = tf.minimum(tf.range(count - 1, -1, -1), self.max_positions - 1)
            encoded += tf.gather(self.tables["position"], back)
        return encoded * tf.cast(mask, encoded.dtype)[:, :, None], mask

    def candidates(self, items: tf.Tensor) -> tf.Tensor:
        """Embeddings `(B, K, D)` of candidate ids `(B, K)`; call the layer first."""
        return tf.gather(self.tables["item"], _narrow(items))


def _aligned(values: tf.Tensor, length: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Moves each row's filled places from the left to the right; 0 elsewhere."""
    aligned = tf.reverse(tf.reverse_sequence(values, length, seq_axis=1), axis=[1])
    return tf.where(mask, aligned, tf.zeros_like(aligned))


def _narrow(items: tf.Tensor) -> tf.Tensor:
    """Ids as int32: adding up the gradients of repeated ones takes a third of the time."""
    return tf.cast(items, tf.int32)


@tf.custom_gradient
def _few_rows(rows: tf.Tensor, places: tf.Tensor) -> Any:
    """`tf.gather(rows, places)`, whose gradient is summed here and not left as slices.

    `(B, L)` slices of a few dozen rows would have to be sorted out afterwards.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        flat = tf.reshape(upstream, [-1, rows.shape[1]])
        return tf.math.unsorted_segment_sum(flat, tf.reshape(places, [-1]), rows.shape[0]), None

    return tf.gather(rows, places), gradient
