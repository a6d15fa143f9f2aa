"""The encoder: embeddings of the history and of the candidates, the same for every model."""

from typing import Any

import tensorflow as tf

from transforms import features


class HistoryEncoder(tf.keras.layers.Layer):
    """Sum of item, elapsed-time and position embeddings (IMN paper, eq. 1).

    `e_j = item(j) + time(j) + position(j)`. A candidate is `item(v)`, from the same table.
    Positions count back from the request: the newest event has position 0. Events beyond
    `max_positions` share the last position, so that L may be any number.

    Example:

        encoder = HistoryEncoder(num_items=1_000, dim=32, max_positions=100)
        history, mask = encoder(items, length, elapsed)  # (B, L, 32) and (B, L)

    Args:
      num_items: rows of the item table: padding, out-of-vocabulary ids and items.
      dim: D.
      max_positions: rows of the position table; 0 for no positions.
      use_time: whether to add the embedding of the elapsed time.
      initial_scale: standard deviation of the initial values.
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
        """Creates the tables."""
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
          length: number of events in each history, `(B,)` or `(B, 1)`. It alone decides what is
            padding; ids in the padding are never looked up.
          elapsed: int64 buckets `(B, L)`; used with `use_time` only.

        Returns:
          `e` `(B, L, D)`, oldest first but padded on the left, so that the newest event is in the
          last column of every row; zeros for padding. And the mask `(B, L)`, True for events.
        """
        count = tf.shape(items, out_type=tf.int64)[1]
        length = tf.clip_by_value(tf.reshape(tf.cast(length, tf.int64), [-1]), 0, count)
        mask = tf.range(count) >= count - length[:, None]
        encoded = tf.gather(self.tables["item"], _aligned(_narrow(items), length, mask))
        if self.use_time:
            # Each row of the table is looked up once, so that its gradient stays sparse.
            rows = tf.gather(self.tables["time"], tf.range(features.NUM_TIME_BUCKETS))
            encoded += _gather_few(rows, _aligned(elapsed, length, mask))
        if self.max_positions:
            back = tf.minimum(tf.range(count - 1, -1, -1), self.max_positions - 1)
            encoded += tf.gather(self.tables["position"], back)
        return encoded * tf.cast(mask, encoded.dtype)[:, :, None], mask

    def candidates(self, items: tf.Tensor) -> tf.Tensor:
        """Embeddings `(B, K, D)` of candidate ids `(B, K)`; call the layer first."""
        return tf.gather(self.tables["item"], _narrow(items))

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same layer, for Keras."""
        return super().get_config() | {
            "num_items": self.num_items,
            "dim": self.dim,
            "max_positions": self.max_positions,
            "use_time": self.use_time,
            "initial_scale": self.initial_scale,
        }


def _aligned(values: tf.Tensor, length: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Moves the events of each row from the left to the right; 0 elsewhere."""
    aligned = tf.reverse(tf.reverse_sequence(values, length, seq_axis=1), axis=[1])
    return tf.where(mask, aligned, tf.zeros_like(aligned))


def _narrow(items: tf.Tensor) -> tf.Tensor:
    """Ids as int32, for which summing the gradients of repeated ids takes a third of the time."""
    return tf.cast(items, tf.int32)


@tf.custom_gradient
def _gather_few(rows: tf.Tensor, indices: tf.Tensor) -> Any:
    """`tf.gather(rows, indices)` with a dense gradient instead of `IndexedSlices`.

    Summing `(B, L)` slices of a few dozen rows later would be slower.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        flat = tf.reshape(upstream, [-1, rows.shape[1]])
        return tf.math.unsorted_segment_sum(flat, tf.reshape(indices, [-1]), rows.shape[0]), None

    return tf.gather(rows, indices), gradient
