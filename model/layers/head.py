"""The head: a perceptron that turns a user and a candidate into a logit."""

from typing import Any

import tensorflow as tf


class Head(tf.keras.layers.Layer):
    """A perceptron on `[u ; v]`, or on `[u ; v ; u ∘ v]`.

    Args:
      units: widths of the hidden layers (ReLU).
      product: whether `u ∘ v` is an input; u and v must then have the same width.
      dropout: rate after each hidden layer, while training.
      batch_norm: whether to normalize the input of every layer over the batch.
      l2: weight decay of the kernels.

    Raises:
      ValueError: when called, if `product` is set and the widths differ.
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
        self.units = tuple(units)
        self.product = product
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.l2 = l2

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
          training: whether to use dropout and the statistics of the batch.
          seed: two integers for dropout, required while training with dropout. A resumed
            training then draws the same masks.
        """
        if self.product and user.shape[-1] != targets.shape[-1]:
            raise ValueError(
                "`product` requires that user and candidate have the same width. "
                f"Received: {user.shape[-1]} and {targets.shape[-1]}."
            )
        shape = tf.concat([tf.shape(targets)[:2], [user.shape[-1]]], axis=0)
        user = tf.broadcast_to(user, shape)
        parts = [user, targets, user * targets] if self.product else [user, targets]
        rows = tf.concat(parts, axis=-1)
        rows = tf.reshape(rows, [-1, rows.shape[-1]])
        for index, dense in enumerate(self.dense):
            if self.norms:
                rows = self.norms[index](rows, training=training)
            rows = dense(rows)
            if index < len(self.dense) - 1:
                rows = tf.nn.relu(rows)
                if training and self.dropout:
                    layer_seed = tf.random.experimental.stateless_fold_in(seed, index)
                    rows = tf.nn.experimental.stateless_dropout(rows, self.dropout, seed=layer_seed)
        return tf.reshape(rows, shape[:2])

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same layer, for Keras."""
        return super().get_config() | {
            "units": self.units,
            "product": self.product,
            "dropout": self.dropout,
            "batch_norm": self.batch_norm,
            "l2": self.l2,
        }
