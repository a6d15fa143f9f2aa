"""The naive form of IMN: builds `[e − m, e − v, e ∘ m, e ∘ v]` in every pass.

The training benchmark compares it with the shipped layers. It is the same function with the same
weights, but without the algebra that avoids `(B, L, 4D)` and without groups of similar length.
"""

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from model.imn import IMNConfig
from model.layers.block import SequenceBlock


@dataclasses.dataclass(frozen=True)
class NaiveConfig(IMNConfig):
    """The options of IMN. The naive form supports `passes`, the options of the enhancement, and
    the normalizations `softmax` and `sigmoid`.
    """

    length_groups: ClassVar[int] = 1

    def block(self) -> Any:
        """The naive layer."""
        return NaiveIMN(self)


class NaiveIMN(SequenceBlock):
    """IMN for one candidate in each row (paper, eq. 2-3, algorithm 1 and enhancement).

    Args:
      config: the options.
    """

    def __init__(self, config: NaiveConfig, **kwargs: Any):
        super().__init__(config, **kwargs)
        dim, units = config.embedding_dim, config.attention_units
        dense = tf.keras.layers.Dense
        self.hidden = [dense(units, "sigmoid") for _ in range(config.passes)]
        self.weight = [dense(1) for _ in range(config.passes)]
        self.softmax = config.normalization == "softmax"
        self.cell = tf.keras.layers.GRUCell(dim)
        self.steps = config.enhancement_steps if config.enhancement else 0
        if self.steps:
            self.projection = dense(dim, use_bias=False)
            self.enhancement_cell = tf.keras.layers.GRUCell(dim)

    def call(
        self,
        history: tf.Tensor,
        mask: tf.Tensor,
        targets: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The user `(B, 1, D)` for candidates `(B, 1, D)`."""
        filled = tf.cast(mask, history.dtype)[:, :, None]
        target, memory = targets[:, 0], targets[:, 0]
        for hidden, weight in zip(self.hidden, self.weight, strict=True):
            m, v = memory[:, None], target[:, None]
            alpha = tf.concat([history - m, history - v, history * m, history * v], axis=-1)
            logits = weight(hidden(alpha))
            if self.softmax:
                weights = tf.nn.softmax(tf.where(filled > 0, logits, logits.dtype.min), axis=1)
            else:
                weights = tf.sigmoid(logits)
            weights *= filled
            read = tf.reduce_sum(weights * history, axis=1)
            memory, _ = self.cell(read, [memory])
        for _ in range(self.steps):
            inputs = tf.concat([self.projection(memory), target], axis=1)
            memory, _ = self.enhancement_cell(inputs, [memory])
        return memory[:, None]
