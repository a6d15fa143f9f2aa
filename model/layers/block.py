"""The block between the encoder and the head: the contract that every model fulfils."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from model.configs import ModelConfig


class BlockOutput(NamedTuple):
    """The output of a block that has a loss of its own.

    Attributes:
      user: `(B, K, D')`.
      loss: a scalar, the mean over the block's rows.
    """

    user: tf.Tensor
    loss: tf.Tensor


class SequenceBlock(tf.keras.layers.Layer):
    """Turns a history and its candidates into a user.

    While training, the block is called once for each of the config's `length_groups` of a batch.
    All random numbers must come from `seed`, so that a resumed training draws the same.

    Args:
      config: the options of the model.

    Attributes:
      selects_by_attributes: whether `call` and `attention_weights` take one more argument where
        items have attributes: `relevance` `(B, L, K, F)`, how well each event matches each
        candidate in each field (attribute_match.py).
      num_fields: F for a block that selects by attributes, where there are any, else 0. The ranker
        sets it before the block is built.
    """

    config_class: ClassVar[type[ModelConfig]] = ModelConfig
    selects_by_attributes: ClassVar[bool] = False
    num_fields: int = 0

    def __init__(self, config: ModelConfig, **kwargs: Any):
        super().__init__(**kwargs)
        self.config = config

    def call(
        self,
        history: tf.Tensor,
        mask: tf.Tensor,
        targets: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor | BlockOutput:
        """Computes the user.

        Args:
          history: `(B, L, D)`, oldest event first, padded with zeros on the left.
          mask: `(B, L)`, True for events.
          targets: candidates `(B, K, D)`.
          training: whether this is a training step.
          seed: two integers while training, else None.

        Returns:
          the user for each candidate, `(B, K, D')`, or `(B, 1, D')` if it does not depend on the
          candidate. While training, a block with its own loss returns a `BlockOutput`.
        """
        raise NotImplementedError

    def attention_weights(
        self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor
    ) -> tf.Tensor:
        """Weights `(B, N, K, L)` of N passes over the history, 0 for padding; optional.

        A model that has them is exported with the signature `explain`.
        """
        raise NotImplementedError

    @property
    def has_attention_weights(self) -> bool:
        """Whether the block implements `attention_weights`."""
        return type(self).attention_weights is not SequenceBlock.attention_weights

    def memories(self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor) -> list[tf.Tensor]:
        """The memory before the first pass and after each, N + 1 of `(B, K, D)`; optional.

        TensorBoard shows how far each pass moves it.
        """
        raise NotImplementedError

    @property
    def has_memories(self) -> bool:
        """Whether the block implements `memories`."""
        return type(self).memories is not SequenceBlock.memories

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same layer, for Keras."""
        return super().get_config() | {"config": dataclasses.asdict(self.config)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SequenceBlock":
        """The layer that `get_config` describes."""
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in config["config"].items()
        }
        return cls(**config | {"config": cls.config_class(**options)})
