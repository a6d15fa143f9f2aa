"""Iterative memory update: the history read again and again, each time with new eyes."""

from typing import Any

import tensorflow as tf

from model.layers.attention import MultiwayAttention
from model.layers.passing_on import PassingOn


class MemoryUpdate(tf.keras.layers.Layer):
    """N passes of attention and a GRU over the whole history (IMN paper, algorithm 1).

    `m⁰ = v`; for t = 1..N: `m^t = GRU(input = Attention(e, m^{t−1}, v),
    state = m^{t−1})`. One GRU cell serves all passes. Without passes the memory
    is the candidate itself.

    Args:
      passes: N.
      share_attention: one attention for all passes instead of one each.
      feedback: False lets every pass attend with m = v, as the authors' released
        code does by default; the GRU's state still runs on.
      attention: arguments of `MultiwayAttention`.
    """

    def __init__(
        self,
        passes: int = 3,
        share_attention: bool = False,
        feedback: bool = True,
        attention: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.passes = passes
        self.feedback = feedback
        made = [
            MultiwayAttention(**(attention or {}))
            for _ in range(min(passes, 1) if share_attention else passes)
        ]
        self.attentions = made
        self.share_attention = share_attention

    def build(self, input_shape: Any) -> None:
        """Makes the cell as wide as the history."""
        if self.passes:
            self.cell = tf.keras.layers.GRUCell(input_shape[-1], kernel_initializer=PassingOn())
        super().build(input_shape)

    def call(self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """The memory after the last pass.

        Args:
          history: e `(B, L, D)`.
          mask: `(B, L)`, True where filled.
          targets: v `(B, K, D)`.

        Returns:
          m^N `(B, K, D)`. An empty history still passes zeros through the GRU.
        """
        flat = [-1, history.shape[-1]]
        memory = targets
        for step in range(self.passes):
            attention = self.attentions[0 if self.share_attention else step]
            read = attention(history, mask, memory if self.feedback else targets, targets)
            _, [state] = self.cell(tf.reshape(read, flat), [tf.reshape(memory, flat)])
            memory = tf.reshape(state, tf.shape(targets))
        return memory
