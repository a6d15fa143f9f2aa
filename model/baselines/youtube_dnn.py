"""YouTube DNN as a ranker (Covington et al., RecSys 2016): the mean of the history."""

import dataclasses

import tensorflow as tf

from model.configs import ModelConfig


@dataclasses.dataclass(frozen=True)
class YoutubeDNNConfig(ModelConfig):
    """The shared options are all it has."""

    def block(self) -> "MeanPooling":
        """The layer that these options describe."""
        return MeanPooling()


class MeanPooling(tf.keras.layers.Layer):
    """`u = (1 / n) Σ_j e_j` over the n filled places of a history."""

    def call(
        self,
        history: tf.Tensor,
        mask: tf.Tensor,
        targets: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The user, `(B, 1, D)`, zeros for an empty history; see `ModelConfig.block`."""
        count = tf.reduce_sum(tf.cast(mask, history.dtype), axis=1)[:, None, None]
        return tf.reduce_sum(history, axis=1, keepdims=True) / tf.maximum(count, 1)
