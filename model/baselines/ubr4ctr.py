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

    A behaviour has a keep-logit s_j, and the S largest are kept, in training and in serving; the
    newest wins a tie. `u = Σ_j g_j a_j e_j / Σ_j g_j a_j` with `a_j = exp(e_j · W v / √D)`; g_j is
    1 for a kept behaviour and 0 otherwise.

    With attributes, the candidate is a query to a search engine, as published. It asks for the
    fields f that the selection model chooses, and BM25 ranks the behaviours
    (attribute_match.py):

        s_j = Σ_f q_f r_f(j, v),   q_f = [p_f ≥ 1/2],   p = σ(W2 tanh(W1 v + b1) + b2)

    Where fewer than S behaviours match, the newest of the others follow. In two places this is
    simpler than the original. Its selection model is self-attention over the vectors of the
    candidate's fields; v is their sum. And it counts how rare a value is in all histories, this in
    the user's own, which is all that a request has.

    Without attributes, `s_j = w2 · tanh(W1 [e_j ; v ; e_j ∘ v] + b1) + b2`, as the authors of IMN
    did.

    The selection has no gradient. While training, g_j has the gradient of σ(s_j) and q_f that of
    p_f (straight-through), also for behaviours and fields that were not kept, so that they can
    return. The original draws the query at random and learns by REINFORCE.

    Args:
      config: the options.
      num_fields: of attributes; the ranker sets it.
    """

    config_class = UBR4CTRConfig
    selects_by_attributes = True

    def __init__(self, config: UBR4CTRConfig, num_fields: int = 0, **kwargs: Any):
        super().__init__(config, **kwargs)
        self.selected = config.selected
        self.units = config.selection_units
        self.num_fields = num_fields

    def build(self, input_shape: Any) -> None:
        """Creates the weights: W1 is `(3, D, units)` without attributes."""
        dim, units = input_shape[-1], self.units
        if self.num_fields:
            self.hidden = tf.keras.layers.Dense(units, "tanh")
            # Every field is asked for until the training finds otherwise.
            self.fields = tf.keras.layers.Dense(self.num_fields, bias_initializer="ones")
        else:
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
        relevance: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The user `(B, K, D)`, zeros for an empty history."""
        share, total = self._shares(history, mask, targets, relevance, training)
        read = tf.matmul(share, history, transpose_a=True)
        return tf.math.divide_no_nan(read, total[:, :, None])

    def attention_weights(
        self,
        history: tf.Tensor,
        mask: tf.Tensor,
        targets: tf.Tensor,
        relevance: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The weights `(B, 1, K, L)`: they sum to 1 over the kept behaviours, others have 0."""
        share, total = self._shares(history, mask, targets, relevance, training=False)
        return tf.transpose(tf.math.divide_no_nan(share, total[:, None]), [0, 2, 1])[:, None]

    def _shares(
        self,
        history: tf.Tensor,
        mask: tf.Tensor,
        targets: tf.Tensor,
        relevance: tf.Tensor | None,
        training: bool,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`g_j a_j` `(B, L, K)`, up to a factor for each candidate, and their sums `(B, K)`."""
        if self.num_fields:
            keep = self.match_logits(relevance, targets)
        else:
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

    def match_logits(self, relevance: tf.Tensor | None, targets: tf.Tensor) -> tf.Tensor:
        """Keep-logits by attributes, `(B, L, K)`.

        Raises:
          ValueError: without `relevance`.
        """
        if relevance is None:
            raise ValueError(
                f"`relevance` must be given to a block with {self.num_fields} fields of attributes."
            )
        chance = tf.sigmoid(self.fields(self.hidden(targets)))  # (B, K, F)
        asked = tf.cast(chance >= 0.5, chance.dtype) + chance - tf.stop_gradient(chance)
        return tf.reduce_sum(tf.cast(relevance, chance.dtype) * asked[:, None], axis=3)

    def keep_logits(self, history: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Keep-logits by vectors, `(B, L, K)`.

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

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same layer, for Keras."""
        return super().get_config() | {"num_fields": self.num_fields}


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
