"""Iterative memory update: the history read again and again, each time with new eyes."""

from typing import Any

import tensorflow as tf

from model.layers.attention import MultiwayAttention
from model.layers.initializers import candidate_kernel, update_gate_bias

_KEPT = 0.12  # of the memory by a pass, at the start


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
      start: first values of the cell, `passing_on` or `random`.
    """

    def __init__(
        self,
        passes: int = 3,
        share_attention: bool = False,
        feedback: bool = True,
        attention: dict[str, Any] | None = None,
        start: str = "passing_on",
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
        self.start = start

    def build(self, input_shape: Any) -> None:
        """Makes the cell as wide as the history."""
        if self.passes:
            # A memory is what was read, not half of what was there before.
            self.cell = tf.keras.layers.GRUCell(
                input_shape[-1],
                kernel_initializer=candidate_kernel(self.start),
                bias_initializer=update_gate_bias(self.start, _KEPT),
            )
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
        return self.memories(history, mask, targets)[-1]

    def memories(self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor) -> list[tf.Tensor]:
        """m⁰ to m^N, each `(B, K, D)`; arguments as of `call`."""
        flat = [-1, history.shape[-1]]
        memories = [targets]
        for step in range(self.passes):
            memory = memories[-1]
            read = self._attention(step)(history, mask, self._seen(memory, targets), targets)
            _, [state] = self.cell(tf.reshape(read, flat), [tf.reshape(memory, flat)])
            memories.append(tf.reshape(state, tf.shape(targets)))
        return memories

    def attention_weights(
        self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor
    ) -> tf.Tensor:
        """The weights of every pass, the mean of its heads, `(B, N, K, L)`; as `call` has them."""
        rows, length = tf.unstack(tf.shape(mask))
        count = tf.shape(targets)[1]
        passes = [tf.zeros(tf.stack([rows, 0, count, length]), history.dtype)]
        memories = self.memories(history, mask, targets)
        for step, memory in enumerate(memories[:-1]):
            attention, seen = self._attention(step), self._seen(memory, targets)
            weights = attention.weights_of(history, mask, seen, targets)
            heads = tf.reshape(weights, tf.stack([rows, count, attention.num_heads, length]))
            passes.append(tf.reduce_mean(heads, axis=2)[:, None])
        return tf.concat(passes, axis=1)

    def _attention(self, step: int) -> MultiwayAttention:
        return self.attentions[0 if self.share_attention else step]

    def _seen(self, memory: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return memory if self.feedback else targets
