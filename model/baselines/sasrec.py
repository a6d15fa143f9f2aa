"""SASRec, self-attention over the history (arXiv 1808.09781), as a ranker."""

import dataclasses
from typing import Any

import tensorflow as tf

from model.configs import ModelConfig, number
from model.layers.packed_sequence import prepend_empty_step


@dataclasses.dataclass(frozen=True)
class SASRecConfig(ModelConfig):
    """The options of SASRec."""

    blocks: int = number(2, 1, 12)
    block_dropout: float = number(0.2, 0.0, 0.99)  # of what each half of a block adds

    def block(self) -> "SelfAttention":
        """The layer that these options describe."""
        return SelfAttention(self)


class SelfAttention(tf.keras.layers.Layer):
    """Causal self-attention blocks with one head; the user is the newest state.

    A block is `x += Dropout(Attention(LayerNorm(x)))`, then
    `x += Dropout(FFN(LayerNorm(x)))` (section 3.3 normalises before each half), a last
    LayerNorm follows. Positions come with the encoder. Of the last block only the newest
    state is read, so only that one is computed: the same result, at a cost linear in L.

    Args:
      config: the options.
    """

    def __init__(self, config: SASRecConfig, **kwargs: Any):
        super().__init__(**kwargs)
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
        """The user `(B, 1, D)`, zeros for an empty history; see `ModelConfig.block`."""
        states, mask = prepend_empty_step(history, mask)
        for place, block in enumerate(self.blocks):
            own = None
            if training and block.dropout:
                own = tf.random.experimental.stateless_fold_in(seed, place)
            states = block(states, mask, newest_only=block is self.blocks[-1], seed=own)
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
        """Makes the projections and the perceptron as wide as the history."""
        dim = input_shape[-1]
        # A bias of the keys would move all logits of a place alike: softmax ignores it.
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
        """States `(B, L, D)` of `(B, L, D)`, or of the newest place only `(B, 1, D)`.

        Args:
          states: x `(B, L, D)`.
          mask: `(B, L)`, True where filled; what is padding is never attended to.
          newest_only: whether the newest place alone is wanted.
          seed: two integers that decide the dropout; without them there is none.
        """
        normed = self.norms[0](states)
        asked, states = (normed[:, -1:], states[:, -1:]) if newest_only else (normed, states)
        logits = tf.matmul(self.query(asked), self.key(normed), transpose_b=True)
        logits /= tf.sqrt(tf.cast(states.shape[-1], states.dtype))
        allowed = mask[:, None, :]
        if not newest_only:
            places = tf.range(tf.shape(mask)[1])
            allowed &= places[None, :, None] >= places
        # A place of padding attends everywhere, and is attended to by none.
        logits = tf.where(allowed, logits, tf.constant(-1e9, logits.dtype))
        read = tf.matmul(tf.nn.softmax(logits), self.value(normed))
        states += self._dropped(read, seed, 0)
        added = self.feed[1](self.feed[0](self.norms[1](states)))
        return states + self._dropped(added, seed, 1)

    def _dropped(self, values: tf.Tensor, seed: tf.Tensor | None, place: int) -> tf.Tensor:
        if seed is None:
            return values
        own = tf.random.experimental.stateless_fold_in(seed, place)
        return tf.nn.experimental.stateless_dropout(values, self.dropout, seed=own)
