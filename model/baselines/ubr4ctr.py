"""UBR4CTR retrieves behaviours for the candidate and attends to them (arXiv 2005.14171)."""

import dataclasses
from typing import Any

import tensorflow as tf

from model.configs import ModelConfig, number
from model.layers.block import SequenceBlock


@dataclasses.dataclass(frozen=True)
class UBR4CTRConfig(ModelConfig):
    """The options of UBR4CTR."""

    selected: int = number(20, 1)  # S, behaviours to retrieve
    selection_units: int = number(8, 1)  # hidden width of the keep-probability

    def block(self) -> "Retrieval":
        """The layer that these options describe."""
        return Retrieval(self)


class Retrieval(SequenceBlock):
    """Selects the best S behaviours for a candidate and attends to them.

    The original builds a query from item attributes. Ratings have none, so a behaviour has
    a keep-probability `p_j = σ(w2 · tanh(W1 [e_j ; v ; e_j ∘ v] + b1) + b2)`, as the authors
    of IMN did. The S largest are kept, in training and in serving, and
    `u = Σ_j g_j a_j e_j / Σ_j g_j a_j` with `a_j = exp(e_j · W v / √D)`; g_j is 1 for a kept
    behaviour and 0 otherwise. The selection has no gradient. While training, g_j has the gradient
    of p_j (straight-through), also for behaviours that were not kept, so that they can return. The
    original learns the selection by REINFORCE.

    Args:
      config: the options.
    """

    config_class = UBR4CTRConfig

    def __init__(self, config: UBR4CTRConfig, **kwargs: Any):
        super().__init__(config, **kwargs)
        self.selected = config.selected
        self.units = config.selection_units

    def build(self, input_shape: Any) -> None:
        """Creates W1, `(3, D, units)` in the order of its input, and the other weights."""
        dim, units = input_shape[-1], self.units
        limit = (6.0 / (3 * dim + units)) ** 0.5
        self.w1 = self.add_weight(
            name="w1",
            shape=(3, dim, units),
            initializer=tf.keras.initializers.RandomUniform(-limit, limit),
        )
        self.b1 = self.add_weight(name="b1", shape=(units,), initializer="zeros")
        self.score = tf.keras.layers.Dense(1)
        self.query = tf.keras.layers.Dense(dim, use_bias=False)
        super().build(input_shape)

    def call(
        self,
        history: tf.Tensor,
        mask: tf.Tensor,
        targets: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The user `(B, K, D)`, zeros for an empty history."""
        share, total = self._shares(history, mask, targets, training)
        read = tf.matmul(share, history, transpose_a=True)
        return tf.math.divide_no_nan(read, total[:, :, None])

    def attention_weights(
        self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor
    ) -> tf.Tensor:
        """The weights `(B, 1, K, L)`: they sum to 1 over the kept behaviours, others have 0."""
        share, total = self._shares(history, mask, targets, training=False)
        return tf.transpose(tf.math.divide_no_nan(share, total[:, None]), [0, 2, 1])[:, None]

    def _shares(
        self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`g_j a_j` `(B, L, K)`, up to a factor for each candidate, and their sums `(B, K)`."""
        keep = self.keep_logits(history, targets)
        kept = top(keep, mask, self.selected)
        gate = kept
        if training:
            chance = tf.sigmoid(keep) * tf.cast(mask, keep.dtype)[:, :, None]
            gate += chance - tf.stop_gradient(chance)
        logits = tf.matmul(history, self.query(targets), transpose_b=True)
        logits /= tf.sqrt(tf.cast(history.shape[-1], logits.dtype))
        low = tf.constant(-1e9, logits.dtype)
        largest = tf.reduce_max(tf.where(kept > 0, logits, low), axis=1, keepdims=True)
        # The logit of a behaviour that is not kept may exceed the largest kept one; avoid overflow.
        share = gate * tf.exp(tf.minimum(logits - tf.stop_gradient(largest), 0))
        return share, tf.reduce_sum(share, axis=1)

    def keep_logits(self, history: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Logits of the keep-probabilities, `(B, L, K)`.

        `W1 [e ; v ; e ∘ v] = (We + diag(v) Wp) e + Wv v`: one product of the history with one
        matrix for each candidate.
        """
        we, wv, wp = tf.unstack(self.w1)
        count, units = tf.shape(targets)[1], self.units
        kernel = we + targets[..., None] * wp  # (B, K, D, units)
        kernel = tf.reshape(
            tf.transpose(kernel, [0, 2, 1, 3]), [-1, history.shape[-1], count * units]
        )
        bias = tf.reshape(tf.matmul(targets, wv) + self.b1, [-1, 1, count * units])
        hidden = tf.reshape(tf.tanh(tf.matmul(history, kernel) + bias), [-1, units])
        rows, length = tf.unstack(tf.shape(history)[:2])
        return tf.reshape(self.score(hidden), [rows, length, count])


def top(scores: tf.Tensor, mask: tf.Tensor, count: int) -> tf.Tensor:
    """1 for the `count` events with the largest scores, else 0; the newest wins a tie.

    Args:
      scores: `(B, L, K)`.
      mask: `(B, L)`, True for events.
      count: S; all events if there are fewer.

    Returns:
      `(B, L, K)`, without a gradient.
    """
    low = tf.constant(scores.dtype.min, scores.dtype)
    scores = tf.where(mask[:, :, None], tf.stop_gradient(scores), low)
    # Newest first, because `top_k` prefers the first of equal scores.
    scores = tf.reverse(tf.transpose(scores, [0, 2, 1]), axis=[2])
    rows, candidates, length = tf.unstack(tf.shape(scores))
    flat = tf.reshape(scores, [rows * candidates, length])
    indices = tf.math.top_k(flat, tf.minimum(count, length)).indices
    row = tf.broadcast_to(tf.range(rows * candidates)[:, None], tf.shape(indices))
    ones = tf.ones(tf.shape(indices), scores.dtype)
    chosen = tf.scatter_nd(tf.stack([row, indices], axis=-1), ones, tf.shape(flat))
    chosen = tf.reverse(tf.reshape(chosen, [rows, candidates, length]), axis=[2])
    return tf.transpose(chosen, [0, 2, 1]) * tf.cast(mask, scores.dtype)[:, :, None]
