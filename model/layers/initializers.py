"""Initializers with which a GRU passes on its input, or keeps its state."""

import math
from typing import Any

import tensorflow as tf


class IdentityCandidateKernel(tf.keras.initializers.Initializer):
    """Input kernel `(inputs, 3 * units)` of a GRU whose candidate state is about `tanh(x)`.

    The gates start as in Keras (Glorot). In the last third, for the candidate state, the first
    `units` inputs start at the identity plus a tenth of Glorot's noise. The head's product can
    then separate history from candidate from the first step on. Through six randomly initialized
    GRU cells in a row (IMN 3P+) this takes many steps to learn.
    """

    def __init__(self, seed: int | None = None):
        self.seed = seed
        self._glorot = tf.keras.initializers.GlorotUniform(seed)

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> tf.Tensor:
        """The kernel."""
        gates, new = tf.split(self._glorot(shape, dtype=dtype), [2 * shape[1] // 3, -1], axis=1)
        return tf.concat([gates, tf.eye(shape[0], shape[1] // 3, dtype=new.dtype) + new / 10], 1)

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same initializer, for Keras."""
        return {"seed": self.seed}


class UpdateGateBias(tf.keras.initializers.Initializer):
    """Bias `(2, 3 * units)` of a GRU cell whose update gate starts at `keep`.

    Args:
      keep: share of the old state in the new one. Keras' zeros give one half.
    """

    def __init__(self, keep: float):
        self.keep = keep

    def __call__(self, shape: Any, dtype: Any = tf.float32, **kwargs: Any) -> tf.Tensor:
        """The bias: the update gate is the first third; zeros elsewhere."""
        gate = tf.fill([shape[-1] // 3], tf.cast(math.log(self.keep / (1 - self.keep)), dtype))
        inputs = tf.concat([gate, tf.zeros([2 * shape[-1] // 3], dtype)], axis=0)
        return tf.stack([inputs, tf.zeros_like(inputs)])

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same initializer, for Keras."""
        return {"keep": self.keep}


def candidate_kernel(start: str) -> tf.keras.initializers.Initializer:
    """The initializer of a GRU's input kernel: `passing_on` or `random`."""
    return (
        IdentityCandidateKernel()
        if start == "passing_on"
        else tf.keras.initializers.GlorotUniform()
    )


def update_gate_bias(start: str, keep: float) -> tf.keras.initializers.Initializer:
    """The initializer of a GRU's bias: `UpdateGateBias(keep)` for `passing_on`, else zeros."""
    return UpdateGateBias(keep) if start == "passing_on" else tf.keras.initializers.Zeros()
