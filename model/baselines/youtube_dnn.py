"""YouTube DNN as a ranker (Covington et al., RecSys 2016): the mean of the history."""

import dataclasses

import tensorflow as tf

from model.configs import ModelConfig
from model.layers.block import SequenceBlock


@dataclasses.dataclass(frozen=True)
class YoutubeDNNConfig(ModelConfig):
    """YouTube DNN has no options of its own."""

    def block(self) -> "MeanPooling":
        """The layer that these options describe."""
        return MeanPooling(self)


class MeanPooling(SequenceBlock):
    """`u = (1 / n) Σ_j e_j` over the n events of a history."""

    config_class = YoutubeDNNConfig

    def call(
        self,
        history: tf.Tensor,
        mask: tf.Tensor,
        targets: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The user, `(B, 1, D)`, zeros for an empty history."""
        count = tf.reduce_sum(tf.cast(mask, history.dtype), axis=1)[:, None, None]
        return tf.reduce_sum(history, axis=1, keepdims=True) / tf.maximum(count, 1)
