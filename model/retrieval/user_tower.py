"""The user vector of the first stage: a history as one point among the item vectors."""

import math
from typing import Any

import tensorflow as tf

from model.layers.encoder import gather_few
from transforms import features

_POSITIONS = 40  # buckets of positions, two for each power of 2
_POOLS = 2


class UserTower(tf.keras.layers.Layer):
    """Two weighted means of the item vectors, and a hidden layer over them.

        w_jk = softmax_j(position_k(j) + elapsed_k(j)),  p_k = Σ_j w_jk v_j,
        user = p_1 + W_2 relu(W_1 [p_1; p_2] + b_1) + b_2

    `position` and `elapsed` are learned weights of buckets: events of equal age weigh the same in
    each history, so the cost is one pass over the vectors. This is the candidate model of YouTube
    (Covington et al., RecSys 2016) with learned weights in place of a plain mean. An empty history
    has p = 0, so that its user is a constant.

    Args:
      dim: D of the item vectors and of the user.
      use_time: whether the weights depend on the elapsed time.
    """

    def __init__(self, dim: int, use_time: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.dim = dim
        self.use_time = use_time

    def build(self, input_shape: Any) -> None:
        """Creates the weights. The first mean starts at recent events, the second at all alike."""
        recent = tf.stack([-0.5 * tf.range(_POSITIONS, dtype=tf.float32), tf.zeros([_POSITIONS])])
        self.position = self.add_weight(
            name="position",
            shape=(_POSITIONS, _POOLS),
            initializer=lambda shape, dtype=None, **_: tf.transpose(recent),
        )
        if self.use_time:
            self.elapsed = self.add_weight(
                name="elapsed", shape=(features.NUM_TIME_BUCKETS, _POOLS), initializer="zeros"
            )
        self.hidden = tf.keras.layers.Dense(2 * self.dim, activation="relu")
        self.hidden.build((None, _POOLS * self.dim))
        self.output_layer = tf.keras.layers.Dense(self.dim)
        self.output_layer.build((None, 2 * self.dim))
        super().build(input_shape)

    def call(
        self, vectors: tf.Tensor, length: tf.Tensor, elapsed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The users `(B, D)`.

        Args:
          vectors: of the items of the histories `(B, L, D)`, oldest first, padded on the right.
          length: number of events `(B,)`.
          elapsed: int64 buckets `(B, L)`; used with `use_time` only.
        """
        back = length[:, None] - 1 - tf.range(tf.shape(vectors, tf.int64)[1])  # 0: the newest
        filled = back >= 0
        steps = 2 / math.log(2) * tf.math.log1p(tf.cast(tf.maximum(back, 0), tf.float32))
        bucket = tf.minimum(tf.cast(steps + 1e-4, tf.int64), _POSITIONS - 1)
        weights = gather_few(self.position, bucket)
        if self.use_time:
            weights += gather_few(self.elapsed, elapsed)
        weights = tf.nn.softmax(tf.where(filled[:, :, None], weights, -1e9), axis=1)
        weights *= tf.cast(filled, weights.dtype)[:, :, None]
        means = tf.linalg.matmul(weights, vectors, transpose_a=True)  # (B, 2, D)
        flat = tf.reshape(means, [-1, _POOLS * self.dim])
        return means[:, 0] + self.output_layer(self.hidden(flat))

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same layer, for Keras."""
        return super().get_config() | {"dim": self.dim, "use_time": self.use_time}
