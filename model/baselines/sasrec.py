"""SASRec, self-attention over the history (arXiv 1808.09781), as a ranker."""

import dataclasses
from typing import Any

import tensorflow as tf

from model.configs import ModelConfig, number
from model.layers.block import SequenceBlock
from model.layers.packed_sequence import prepend_empty_step


@dataclasses.dataclass(frozen=True)
class SASRecConfig(ModelConfig):
    """The options of SASRec."""

    blocks: int = number(2, 1, 12)
    block_dropout: float = number(0.2, 0.0, 0.99)  # rate at the output of each half of a block

    def block(self) -> "SelfAttention":
        """The layer that these options describe."""
        return SelfAttention(self)


class SelfAttention(SequenceBlock):
    """Causal self-attention blocks with one head; the user is the newest state.

    A block is `x += Dropout(Attention(LayerNorm(x)))`, then `x += Dropout(FFN(LayerNorm(x)))`
    (section 3.3 normalizes before each half). A LayerNorm follows the last block. The encoder
    adds the positions. The last block computes only the newest state, because only that state is
    used: the same result, at a cost linear in L.

    Args:
      config: the options.
    """

    config_class = SASRecConfig

    def __init__(self, config: SASRecConfig, **kwargs: Any):
        super().__init__(config, **kwargs)
        self.blocks = [Block(config.block_dropout) for _ in range(config.blocks)]
        self.norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)

    def call(
        self,
        history: tf.Tensor,
        mask: tf.Tensor,
        targets: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The user `(B, 1, D)`, zeros for an empty history."""
        states, mask = prepend_empty_step(history, mask)
        for index, block in enumerate(self.blocks):
            block_seed = None
            if training and block.dropout:
                block_seed = tf.random.experimental.stateless_fold_in(seed, index)
            newest_only = block is self.blocks[-1]
            states = block(states, mask, newest_only=newest_only, seed=block_seed)
        filled = tf.cast(mask[:, -1:, None], states.dtype)
        return self.norm(states) * filled


class Block(tf.keras.layers.Layer):
    """One block: attention, then a perceptron on each place.

    Args:
      dropout: rate of what each half adds, where a seed is given.
    """

    def __init__(self, dropout: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.dropout = dropout
        self.norms = [tf.keras.layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]

    def build(self, input_shape: Any) -> None:
        """Creates the projections and the perceptron, as wide as the history."""
        dim = input_shape[-1]
        # No bias for the keys: it would shift all logits of a query alike, which softmax ignores.
        self.query = tf.keras.layers.Dense(dim)
        self.key = tf.keras.layers.Dense(dim, use_bias=False)
        self.value = tf.keras.layers.Dense(dim)
        self.feed = [tf.keras.layers.Dense(dim, activation="relu"), tf.keras.layers.Dense(dim)]
        super().build(input_shape)

    def call(
        self,
        states: tf.Tensor,
        mask: tf.Tensor,
        newest_only: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """States `(B, L, D)`, or the newest state only, `(B, 1, D)`.

        Args:
          states: x `(B, L, D)`.
          mask: `(B, L)`, True for events; padding is never attended to.
          newest_only: whether to compute the newest state only.
          seed: two integers for dropout; None switches it off.
        """
        normed = self.norms[0](states)
        queries, states = (normed[:, -1:], states[:, -1:]) if newest_only else (normed, states)
        logits = tf.matmul(self.query(queries), self.key(normed), transpose_b=True)
        logits /= tf.sqrt(tf.cast(states.shape[-1], states.dtype))
        allowed = mask[:, None, :]
        if not newest_only:
            positions = tf.range(tf.shape(mask)[1])
            allowed &= positions[None, :, None] >= positions
        # Padding attends to all positions, but nothing attends to padding.
        logits = tf.where(allowed, logits, tf.constant(-1e9, logits.dtype))
        read = tf.matmul(tf.nn.softmax(logits), self.value(normed))
        states += self._dropped(read, seed, 0)
        added = self.feed[1](self.feed[0](self.norms[1](states)))
        return states + self._dropped(added, seed, 1)

    def _dropped(self, values: tf.Tensor, seed: tf.Tensor | None, half: int) -> tf.Tensor:
        if seed is None:
            return values
        seed = tf.random.experimental.stateless_fold_in(seed, half)
        return tf.nn.experimental.stateless_dropout(values, self.dropout, seed=seed)

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same layer, for Keras."""
        return super().get_config() | {"dropout": self.dropout}
