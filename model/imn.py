"""The Iterative Memory Network (ICLR 2022 submission Ih7LAeOYIb0; SAM, arXiv 2208.04022)."""

import dataclasses
from typing import Any

import tensorflow as tf

from model.configs import ModelConfig, choice, number
from model.layers.block import BlockOutput, SequenceBlock
from model.layers.enhancement import MemoryEnhancement
from model.layers.gru import GatedRecurrence
from model.layers.memory import MemoryUpdate
from model.layers.next_event import next_event_loss
from model.layers.packed_sequence import prepend_empty_step


@dataclasses.dataclass(frozen=True)
class IMNConfig(ModelConfig):
    """The options of IMN. The defaults are 3P+, the paper's best model.

    Raises:
      ValueError: at construction, also if `num_heads` does not divide `embedding_dim`.
    """

    passes: int = number(3, 0, 10)  # N, passes over the whole history
    enhancement: bool = True  # the "+"
    enhancement_steps: int = number(3, 1, 10)
    num_heads: int = number(1, 1)  # of the attention; divides embedding_dim
    attention_units: int = number(8, 1)  # hidden width of the attention
    # Normalization of the attention weights. The paper uses sigmoid and reports little difference
    # to softmax; here softmax gains up to .7 points (docs/results/search.md).
    normalization: str = choice("softmax", "sigmoid", "length")
    differences: bool = True  # e − m and e − v in the attention
    products: bool = True  # e ∘ m and e ∘ v in the attention
    share_attention: bool = False  # one attention for all passes
    feedback: bool = True  # False: every pass uses the candidate as memory
    gru_start: str = choice("passing_on", "random")  # initial values, layers/initializers.py
    # Beyond the paper: the passes read each event together with the state of a GRU.
    states: bool = False
    auxiliary_weight: float = number(1.0, 0.0)  # weight of the next-event loss of the states

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embedding_dim % self.num_heads:
            raise ValueError(
                f"`num_heads` must divide `embedding_dim`, {self.embedding_dim}. "
                f"Received: {self.num_heads}."
            )
        if not (self.differences or self.products):
            raise ValueError(
                "`differences` or `products` must be true: the attention needs an input. "
                "Received: False and False."
            )

    def block(self) -> "IMN":
        """The layer that these options describe."""
        return IMN(self)


class IMN(SequenceBlock):
    """Iterative memory update, then memory enhancement.

    With `states`, the passes read `e_j + h_j` instead of the events e, where h are the states of a
    GRU over the events. A next-event loss trains `h_j` to score `e_{j+1}` above an event of
    another user (layers/next_event.py). This is the interest extractor of DIEN (arXiv 1809.03672)
    with IMN instead of attention and AUGRU.

    Example:

        block = IMN(IMNConfig(embedding_dim=32))
        user = block(history, mask, targets)  # (B, K, 32)

    Args:
      config: the options.
    """

    config_class = IMNConfig

    def __init__(self, config: IMNConfig, **kwargs: Any):
        super().__init__(config, **kwargs)
        self.update = MemoryUpdate(
            config.passes,
            config.share_attention,
            config.feedback,
            {
                "units": config.attention_units,
                "num_heads": config.num_heads,
                "normalization": config.normalization,
                "differences": config.differences,
                "products": config.products,
            },
            config.gru_start,
        )
        self.enhance = None
        if config.enhancement:
            self.enhance = MemoryEnhancement(config.enhancement_steps, config.gru_start)
        self.extract = None
        if config.states:
            self.extract = GatedRecurrence(config.embedding_dim, config.gru_start)
            self.auxiliary_weight = config.auxiliary_weight

    def call(
        self,
        history: tf.Tensor,
        mask: tf.Tensor,
        targets: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor | BlockOutput:
        """The user for each candidate, `(B, K, D)`."""
        history, mask, states = self._with_states(history, mask)
        read = history if states is None else history + states
        memory = self.update(read, mask, targets)
        user = self.enhance(memory, targets) if self.enhance else memory
        if training and states is not None and self.auxiliary_weight:
            loss = self.auxiliary_weight * next_event_loss(states, history, mask)
            return BlockOutput(user, loss)
        return user

    def attention_weights(
        self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor
    ) -> tf.Tensor:
        """The weights of every pass, averaged over heads, `(B, passes, K, L)`.

        With `states`, a weight belongs to an event and its state, which depends on all events
        before it.
        """
        history, mask, states = self._with_states(history, mask)
        if states is None:
            return self.update.attention_weights(history, mask, targets)
        return self.update.attention_weights(history + states, mask, targets)[..., 1:]

    def memories(self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor) -> list[tf.Tensor]:
        """The memory before the first pass, which is the candidate, and after each pass."""
        history, mask, states = self._with_states(history, mask)
        return self.update.memories(history if states is None else history + states, mask, targets)

    def _with_states(
        self, history: tf.Tensor, mask: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """History, mask and states. With states, all three have an empty first step."""
        if self.extract is None:
            return history, mask, None
        history, mask = prepend_empty_step(history, mask)
        return history, mask, self.extract(history, mask)
