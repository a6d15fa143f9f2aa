"""Multi-way attention: weighs each event by the memory and the candidate."""

from typing import Any

import tensorflow as tf

from model.layers.attention_weights import attend, weights

Perceptron = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
NORMALIZATIONS = ("sigmoid", "softmax", "length")


class MultiwayAttention(tf.keras.layers.Layer):
    """Attention on differences and products (IMN paper, eq. 2-3).

    The paper's `α_j = [e_j − m, e_j − v, e_j ∘ m, e_j ∘ v]` and
    `w_j = σ(W2 σ(W1 α_j + b1) + b2)`; the result is `Σ_j w_j e_j`. With
    `W1 = [Wa|Wb|Wc|Wd]`,

        `W1 α_j = (Wa + Wb + Wc diag(m) + Wd diag(v)) e_j − Wa m − Wb v`,

    one product of the history with one `(D, units)` matrix for each candidate. This is exact and
    avoids tensors of shape `(B, L, 4D)`.

    Each head has its own slice of D, W1 and W2.

    Example:

        attention = MultiwayAttention(units=8, num_heads=2, normalization="softmax")
        read = attention(history, mask, memory, targets)  # (B, K, D)

    Args:
      units: hidden width; 8 in the paper.
      num_heads: number of heads; must divide D.
      normalization: `sigmoid` as in the paper; `length` also divides by the length of the
        history; `softmax` replaces the outer sigmoid by a softmax over the history.
      differences: whether to use e − m and e − v. If False, Wa and Wb are zero.
      products: whether to use e ∘ m and e ∘ v. If False, Wc and Wd are zero.

    Raises:
      ValueError: for an unknown normalization; when built, if `num_heads` does not divide D.
    """

    def __init__(
        self,
        units: int = 8,
        num_heads: int = 1,
        normalization: str = "sigmoid",
        differences: bool = True,
        products: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"`normalization` must be one of {', '.join(NORMALIZATIONS)}. "
                f"Received: {normalization!r}."
            )
        self.units = units
        self.num_heads = num_heads
        self.normalization = normalization
        self.differences, self.products = differences, products

    def build(self, input_shape: Any) -> None:
        """Creates W1, `(4, heads, D / heads, units)` in the order of α, and the other weights."""
        dim, heads, units = input_shape[-1], self.num_heads, self.units
        if dim % heads:
            raise ValueError(
                f"`num_heads` must divide the width of the history, {dim}. Received: {heads}."
            )
        # Glorot's range for a (4 D / heads, units) matrix, as in the paper's form.
        limit = (6.0 / (4 * dim // heads + units)) ** 0.5
        self.w1 = self.add_weight(
            name="w1",
            shape=(4, heads, dim // heads, units),
            initializer=tf.keras.initializers.RandomUniform(-limit, limit),
        )
        self.b1 = self.add_weight(name="b1", shape=(heads, units), initializer="zeros")
        limit = (6.0 / (units + 1)) ** 0.5
        self.w2 = self.add_weight(
            name="w2",
            shape=(heads, units),
            initializer=tf.keras.initializers.RandomUniform(-limit, limit),
        )
        self.b2 = self.add_weight(name="b2", shape=(heads,), initializer="zeros")
        super().build(input_shape)

    def call(
        self, history: tf.Tensor, mask: tf.Tensor, memory: tf.Tensor, targets: tf.Tensor
    ) -> tf.Tensor:
        """Weighted sums of the history.

        Args:
          history: e `(B, L, D)`.
          mask: `(B, L)`, True for events.
          memory: m `(B, K, D)`, one for each candidate.
          targets: v `(B, K, D)`.

        Returns:
          `Σ_j w_j e_j` `(B, K, D)`; zeros for an empty history.
        """
        sums = attend(history, mask, *self._perceptron(memory, targets), self.normalization)
        heads, width = self.num_heads, history.shape[-1] // self.num_heads
        if heads == 1:
            return sums
        # Each head uses its own slice of D.
        rows, count, _ = tf.unstack(tf.shape(memory))
        sums = tf.reshape(sums, [rows, count, heads, heads, width])
        sums = tf.linalg.diag_part(tf.transpose(sums, [0, 1, 4, 2, 3]))
        return tf.reshape(tf.transpose(sums, [0, 1, 3, 2]), tf.shape(memory))

    def weights_of(
        self, history: tf.Tensor, mask: tf.Tensor, memory: tf.Tensor, targets: tf.Tensor
    ) -> tf.Tensor:
        """The weights w `(B, K * heads, L)`; heads vary fastest; 0 for padding."""
        return weights(history, mask, *self._perceptron(memory, targets), self.normalization)

    def _perceptron(self, memory: tf.Tensor, targets: tf.Tensor) -> Perceptron:
        """Kernel, w2 and b2 of `attend`, for each candidate and head.

        They are halved, because `σ(x) = (1 + tanh(x / 2)) / 2` and tanh is faster.
        """
        heads, units, dim = self.num_heads, self.units, memory.shape[-1]
        rows, count, _ = tf.unstack(tf.shape(memory))
        sliced = [rows, count, heads, 1, dim // heads]
        m, v = tf.reshape(memory, sliced), tf.reshape(targets, sliced)
        # Parts that are not used become zeros, so that all variants have the same initial weights.
        wa, wb, wc, wd = (
            tf.transpose(part, [0, 2, 1])
            if used
            else tf.zeros([heads, units, dim // heads], m.dtype)
            for part, used in zip(
                tf.unstack(self.w1),
                (self.differences, self.differences, self.products, self.products),
                strict=True,
            )
        )
        kernel = (wa + wb) + m * wc + v * wd  # (B, K, heads, units, D / heads)
        bias = self.b1 - tf.reduce_sum(m * wa + v * wb, axis=4)  # (B, K, heads, units)
        if heads > 1:
            # Block-diagonal over heads, so that one product with the history serves all heads.
            diagonal = tf.eye(heads, dtype=m.dtype)[:, None, :, None]
            kernel = kernel[:, :, :, :, None, :] * diagonal
        kernel = tf.reshape(kernel, [rows, count * heads, units, dim])
        bias = tf.reshape(bias, [rows, count * heads, units, 1])
        w2 = self.w2 / 2
        b2 = self.b2 + tf.reduce_sum(w2, axis=1)
        return (
            tf.concat([kernel, bias], axis=3) / 2,
            tf.tile(w2, [count, 1]),
            tf.tile(b2, [count]),
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same layer, for Keras."""
        return super().get_config() | {
            "units": self.units,
            "num_heads": self.num_heads,
            "normalization": self.normalization,
            "differences": self.differences,
            "products": self.products,
        }
