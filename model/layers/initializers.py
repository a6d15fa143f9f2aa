"""First values with which a GRU passes on what it reads, or what it holds."""

import math
from typing import Any

import tensorflow as tf


class IdentityCandidateKernel(tf.keras.initializers.Initializer):
    """A GRU's input kernel `(inputs, 3 * units)` whose new state is `tanh(x)`, nearly.

    The two gates start as Keras' (Glorot); in the part of the new state, the last one,
    the first `units` inputs start at the identity, with a tenth of Glorot's noise. What
    a recurrence read can then be told from the candidate by the head's product from the
    first step on; through six random matrices in a row, as in IMN 3P+, it takes long to
    learn to.
    """

    def __init__(self, seed: int | None = None):
        self.seed = seed
        self._glorot = tf.keras.initializers.GlorotUniform(seed)

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> tf.Tensor:
        """The kernel."""
        gates, new = tf.split(self._glorot(shape, dtype=dtype), [2 * shape[1] // 3, -1], axis=1)
        return tf.concat([gates, tf.eye(shape[0], shape[1] // 3, dtype=new.dtype) + new / 10], 1)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same initializer again."""
        return {"seed": self.seed}


class UpdateGateBias(tf.keras.initializers.Initializer):
    """A GRU cell's bias `(2, 3 * units)` whose update gate starts at `kept`.

    `kept` is the share of the old state in the new one; half of it by Keras' zeros.
    """

    def __init__(self, kept: float):
        self.kept = kept

    def __call__(self, shape: Any, dtype: Any = tf.float32, **kwargs: Any) -> tf.Tensor:
        """The bias: of the update gate, which is the first third; zeros elsewhere."""
        gate = tf.fill([shape[-1] // 3], tf.cast(math.log(self.kept / (1 - self.kept)), dtype))
        inputs = tf.concat([gate, tf.zeros([2 * shape[-1] // 3], dtype)], axis=0)
        return tf.stack([inputs, tf.zeros_like(inputs)])

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same initializer again."""
        return {"kept": self.kept}


def candidate_kernel(start: str) -> tf.keras.initializers.Initializer:
    """The initializer of a GRU's input kernel: `passing_on` or `random`."""
    return (
        IdentityCandidateKernel()
        if start == "passing_on"
        else tf.keras.initializers.GlorotUniform()
    )


def update_gate_bias(start: str, kept: float) -> tf.keras.initializers.Initializer:
    """The initializer of a GRU's bias: with `passing_on` at `kept`, or else zeros."""
    return UpdateGateBias(kept) if start == "passing_on" else tf.keras.initializers.Zeros()
