"""DIEN, the Deep Interest Evolution Network (arXiv 1809.03672)."""

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from model.configs import ModelConfig, choice, number
from model.layers.block import BlockOutput, SequenceBlock
from model.layers.gru import GatedRecurrence
from model.layers.next_event import next_event_loss
from model.layers.packed_sequence import prepend_empty_step


@dataclasses.dataclass(frozen=True)
class DIENConfig(ModelConfig):
    """The options of DIEN."""

    auxiliary_weight: float = number(1.0, 0.0)  # α of the auxiliary loss; 0 switches it off
    gru_start: str = choice("passing_on", "random")  # initial values, layers/initializers.py

    # Each group runs through its own loop over time, which is the expensive part.
    length_groups: ClassVar[int] = 2

    def block(self) -> "InterestEvolution":
        """The layer that these options describe."""
        return InterestEvolution(self)


class InterestEvolution(SequenceBlock):
    """A GRU over the history, attention to the candidate, an AUGRU over the states.

    `h_t = GRU(e_t)`; `a_t = softmax_t(h_t W v)` (eq. 9); `u` is the last state of an
    AUGRU on `h_t` with `a_t`. The auxiliary loss trains `h_t` to score the next event above an
    event of another user (eq. 8, layers/next_event.py).

    Args:
      config: the options.
    """

    config_class = DIENConfig

    def __init__(self, config: DIENConfig, **kwargs: Any):
        super().__init__(config, **kwargs)
        self.auxiliary_weight = config.auxiliary_weight
        self.start = config.gru_start

    def build(self, input_shape: Any) -> None:
        """Creates both recurrences, as wide as the history, and W."""
        dim = input_shape[-1]
        self.extract = GatedRecurrence(dim, self.start)
        self.evolve = GatedRecurrence(dim, self.start)
        self.evolve.build([None, None, dim])
        self.attention = tf.keras.layers.Dense(dim, use_bias=False)
        super().build(input_shape)

    def call(
        self,
        history: tf.Tensor,
        mask: tf.Tensor,
        targets: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor | BlockOutput:
        """The user `(B, K, D)`, zeros for an empty history."""
        events, mask = prepend_empty_step(history, mask)
        filled = tf.cast(mask, history.dtype)[:, :, None]
        states = self.extract(events, mask)
        logits = tf.matmul(self.attention(states), targets, transpose_b=True)
        weights = tf.nn.softmax(logits + (filled - 1) * 1e9, axis=1) * filled
        user = self.evolve.last(states, mask, weights)
        if training and self.auxiliary_weight:
            loss = self.auxiliary_weight * next_event_loss(states, events, mask)
            return BlockOutput(user, loss)
        return user
