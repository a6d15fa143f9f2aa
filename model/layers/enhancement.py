"""Memory enhancement, the "+" of IMN: GRU steps that write the candidate into the memory."""

from typing import Any

import tensorflow as tf

from model.layers.initializers import candidate_kernel, update_gate_bias

_INITIAL_KEEP = 0.95  # share of the memory that a step keeps at first


class MemoryEnhancement(tf.keras.layers.Layer):
    """GRU steps on the memory and the candidate (IMN paper, memory enhancement).

    `u⁰ = m^N`; `u^t = GRU(input = [W_u u^{t−1} ; v], state = u^{t−1})`.

    Args:
      steps: number of steps; 3 in the paper.
      start: initial values of W_u and of the cell, `passing_on` or `random`.
    """

    def __init__(self, steps: int = 3, start: str = "passing_on", **kwargs: Any):
        super().__init__(**kwargs)
        self.steps = steps
        self.start = start

    def build(self, input_shape: Any) -> None:
        """Creates W_u and the cell, as wide as the memory."""
        initializer = "identity" if self.start == "passing_on" else "glorot_uniform"
        self.projection = tf.keras.layers.Dense(
            input_shape[-1], use_bias=False, kernel_initializer=initializer
        )
        # 3P+ then starts as 3P. Otherwise three steps would squash the result of the passes.
        self.cell = tf.keras.layers.GRUCell(
            input_shape[-1],
            kernel_initializer=candidate_kernel(self.start),
            bias_initializer=update_gate_bias(self.start, _INITIAL_KEEP),
        )
        super().build(input_shape)

    def call(self, memory: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """The enhanced memory `(B, K, D)` from memory and candidates `(B, K, D)`."""
        flat = [-1, memory.shape[-1]]
        user, target = tf.reshape(memory, flat), tf.reshape(targets, flat)
        for _ in range(self.steps):
            _, [user] = self.cell(tf.concat([self.projection(user), target], axis=1), [user])
        return tf.reshape(user, tf.shape(memory))

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same layer, for Keras."""
        return super().get_config() | {"steps": self.steps, "start": self.start}
