"""DIN, the Deep Interest Network (arXiv 1706.06978)."""

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from model.baselines.dice import Dice
from model.configs import ModelConfig, choice
from model.layers.block import SequenceBlock


@dataclasses.dataclass(frozen=True)
class DINConfig(ModelConfig):
    """The options of DIN. Its mini-batch-aware L2 is `table_l2` of the training config."""

    attention_layers: tuple[int, ...] = (80, 40)  # hidden layers of the activation unit
    activation: str = choice("dice", "sigmoid")  # of its hidden layers
    normalization: str = choice("none", "softmax")  # of the weights; the paper has none

    # Dice computes its statistics over the whole batch. Padding costs nothing here.
    length_groups: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.attention_layers:
            raise ValueError(
                "`attention_layers` must name at least one hidden layer, such as 80x40. "
                f"Received: {self.attention_layers!r}."
            )

    def block(self) -> "ActivationUnit":
        """The layer that these options describe."""
        return ActivationUnit(self)


class ActivationUnit(SequenceBlock):
    """`u = Σ_j a(e_j, v) e_j`, a perceptron on `[v, e, v − e, v ∘ e]` (DIN, eq. 3).

    Only events, not padding, go through the perceptron. Its first layer is computed as
    `(Wv + Wd) v + (We − Wd) e + Wp (v ∘ e)`, which avoids a tensor of width 4D.

    Args:
      config: the options.
    """

    config_class = DINConfig

    def __init__(self, config: DINConfig, **kwargs: Any):
        super().__init__(config, **kwargs)
        self.softmax = config.normalization == "softmax"
        first, *others = config.attention_layers
        self.first = first
        self.dense = [tf.keras.layers.Dense(width) for width in others]
        self.last = tf.keras.layers.Dense(1)
        self.dice = config.activation == "dice"
        self.activations = [
            Dice() if self.dice else tf.keras.layers.Activation("sigmoid") for _ in (first, *others)
        ]

    def build(self, input_shape: Any) -> None:
        """Creates the kernel of the first layer, `(4, D, units)` in the order of the input."""
        dim = input_shape[-1]
        limit = (6.0 / (4 * dim + self.first)) ** 0.5
        self.kernel = self.add_weight(
            name="kernel",
            shape=(4, dim, self.first),
            initializer=tf.keras.initializers.RandomUniform(-limit, limit),
        )
        self.bias = self.add_weight(name="bias", shape=(self.first,), initializer="zeros")
        super().build(input_shape)

    def call(
        self,
        history: tf.Tensor,
        mask: tf.Tensor,
        targets: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The user `(B, K, D)`, zeros for an empty history."""
        weights = self.weights_of(history, mask, targets, training)
        return tf.matmul(weights, history, transpose_a=True)

    def attention_weights(
        self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor
    ) -> tf.Tensor:
        """The weights `(B, 1, K, L)`. As in the paper, they are not normalized by default."""
        return tf.transpose(self.weights_of(history, mask, targets), [0, 2, 1])[:, None]

    def weights_of(
        self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """The weights a `(B, L, K)`; 0 where padded."""
        positions = tf.where(mask)
        event = tf.gather_nd(history, positions)[:, None, :]  # (N, 1, D) of N events
        row = positions[:, 0]
        wv, we, wd, wp = tf.unstack(self.kernel)
        of_target = tf.gather(_times(targets, wv + wd) + self.bias, row)  # (N, K, units)
        hidden = of_target + _times(event, we - wd) + _times(event * tf.gather(targets, row), wp)
        count = tf.shape(targets)[1]
        rows = tf.reshape(hidden, [-1, self.first])
        for index, activation in enumerate(self.activations):
            if index:
                rows = self.dense[index - 1](rows)
            rows = activation(rows, training=training) if self.dice else activation(rows)
        scores = tf.reshape(self.last(rows), [-1, count])
        shape = tf.concat([tf.shape(mask, tf.int64), [tf.cast(count, tf.int64)]], axis=0)
        weights = tf.scatter_nd(positions, scores, shape)
        if self.softmax:
            filled = tf.cast(mask, history.dtype)[:, :, None]
            weights = tf.nn.softmax(weights + (filled - 1) * 1e9, axis=1) * filled
        return weights


def _times(values: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """`(N, K, D)` times `(D, units)`, as one matrix product."""
    flat = tf.matmul(tf.reshape(values, [-1, kernel.shape[0]]), kernel)
    return tf.reshape(flat, tf.concat([tf.shape(values)[:2], [kernel.shape[1]]], axis=0))
