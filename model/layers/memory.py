"""Iterative memory update: N attention passes, each with the memory of the pass before."""

from typing import Any

import tensorflow as tf

from model.layers.attention import MultiwayAttention
from model.layers.initializers import candidate_kernel, update_gate_bias

_INITIAL_KEEP = 0.12  # share of the memory that a pass keeps at first


class MemoryUpdate(tf.keras.layers.Layer):
    """N passes of attention and a GRU over the whole history (IMN paper, algorithm 1).

    `m⁰ = v`; for t = 1..N: `m^t = GRU(input = Attention(e, m^{t−1}, v),
    state = m^{t−1})`. All passes share one GRU cell. Without passes the memory is the
    candidate itself.

    Args:
      passes: N.
      share_attention: whether all passes share one attention.
      feedback: if False, every pass attends with m = v, as the authors' released code does by
        default; the state of the GRU still goes from pass to pass.
      attention: arguments of `MultiwayAttention`.
      start: initial values of the cell, `passing_on` or `random`.
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
        self.attention = dict(attention or {})
        self.attentions = [
            MultiwayAttention(**self.attention)
            for _ in range(min(passes, 1) if share_attention else passes)
        ]
        self.share_attention = share_attention
        self.start = start

    def build(self, input_shape: Any) -> None:
        """Creates the cell, as wide as the history."""
        if self.passes:
            # The memory should hold the result of the attention, not half of the old memory.
            self.cell = tf.keras.layers.GRUCell(
                input_shape[-1],
                kernel_initializer=candidate_kernel(self.start),
                bias_initializer=update_gate_bias(self.start, _INITIAL_KEEP),
            )
        super().build(input_shape)

    def call(self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """The memory after the last pass.

        Args:
          history: e `(B, L, D)`.
          mask: `(B, L)`, True for events.
          targets: v `(B, K, D)`.

        Returns:
          m^N `(B, K, D)`. For an empty history the GRU reads zeros.
        """
        return self.memories(history, mask, targets)[-1]

    def memories(self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor) -> list[tf.Tensor]:
        """m⁰ to m^N, each `(B, K, D)`; the arguments are those of `call`."""
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
        """The weights of every pass in `call`, averaged over heads, `(B, N, K, L)`."""
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

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same layer, for Keras."""
        return super().get_config() | {
            "passes": self.passes,
            "share_attention": self.share_attention,
            "feedback": self.feedback,
            "attention": dict(self.attention),
            "start": self.start,
        }
