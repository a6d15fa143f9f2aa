"""From a user and a candidate to a logit."""

from typing import Any

import tensorflow as tf


class Head(tf.keras.layers.Layer):
    """A perceptron on `[u ; v]`, or on `[u ; v ; u ∘ v]`.

    Args:
      units: widths of the hidden layers (ReLU).
      product: whether `u ∘ v` is an input; u must then be as wide as v.
      dropout: rate after each hidden layer, while training.
      batch_norm: normalises the input of every layer over the batch.
      l2: weight decay of the kernels.

    Raises:
      ValueError: when called, if `product` meets widths that differ.
    """

    def __init__(
        self,
        units: tuple[int, ...] = (128, 64),
        product: bool = True,
        dropout: float = 0.0,
        batch_norm: bool = False,
        l2: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        decay = tf.keras.regularizers.L2(l2) if l2 else None
        widths = [*units, 1]
        self.dense = [tf.keras.layers.Dense(width, kernel_regularizer=decay) for width in widths]
        self.norms = [tf.keras.layers.BatchNormalization() for _ in widths] if batch_norm else []
        self.product = product
        self.dropout = dropout

    def call(
        self,
        user: tf.Tensor,
        targets: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Logits `(B, K)`.

        Args:
          user: u `(B, K, D')`, or `(B, 1, D')` for all candidates.
          targets: v `(B, K, D)`.
          training: whether dropout and batch statistics are on.
          seed: two integers that decide the dropout of this step; needed while
            training with dropout, so that a resumed training draws the same.
        """
        if self.product and user.shape[-1] != targets.shape[-1]:
            raise ValueError(
                "`product` needs a user as wide as a candidate. "
                f"Received: {user.shape[-1]} and {targets.shape[-1]}."
            )
        shape = tf.concat([tf.shape(targets)[:2], [user.shape[-1]]], axis=0)
        user = tf.broadcast_to(user, shape)
        parts = [user, targets, user * targets] if self.product else [user, targets]
        rows = tf.concat(parts, axis=-1)
        rows = tf.reshape(rows, [-1, rows.shape[-1]])
        for place, dense in enumerate(self.dense):
            if self.norms:
                rows = self.norms[place](rows, training=training)
            rows = dense(rows)
            if place < len(self.dense) - 1:
                rows = tf.nn.relu(rows)
                if training and self.dropout:
                    own = tf.random.experimental.stateless_fold_in(seed, place)
                    rows = tf.nn.experimental.stateless_dropout(rows, self.dropout, seed=own)
        return tf.reshape(rows, shape[:2])
