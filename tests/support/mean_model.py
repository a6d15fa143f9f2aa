"""A model outside the package `model`, with the code of the example in docs/models.md."""

import dataclasses

import tensorflow as tf

from model.configs import ModelConfig, number
from model.layers.block import SequenceBlock


@dataclasses.dataclass(frozen=True)
class MeanConfig(ModelConfig):
    """Fields with defaults here become options of the model."""

    scale: float = number(1.0, 0.0)  # factor of the mean

    def block(self):
        return Mean(self)


class Mean(SequenceBlock):
    """The mean of the history, `(B, 1, D)`: the same user for every candidate."""

    config_class = MeanConfig

    def call(self, history, mask, targets, training=False, seed=None):
        count = tf.reduce_sum(tf.cast(mask, history.dtype), axis=1)[:, None, None]
        total = tf.reduce_sum(history, axis=1, keepdims=True)
        return self.config.scale * total / tf.maximum(count, 1)
