"""The Iterative Memory Network (ICLR 2022 submission Ih7LAeOYIb0; SAM, arXiv 2208.04022)."""

import dataclasses
from typing import Any

import tensorflow as tf

from model.configs import ModelConfig, choice, number
from model.layers.enhancement import MemoryEnhancement
from model.layers.gru import GatedRecurrence
from model.layers.memory import MemoryUpdate
from model.layers.next_event import next_event_loss
from model.layers.packed_sequence import prepend_empty_step


@dataclasses.dataclass(frozen=True)
class IMNConfig(ModelConfig):
    """The options of IMN. Defaults are 3P+, the paper's best row.

    Raises:
      ValueError: at construction, also if `num_heads` does not divide `embedding_dim`.
    """

    passes: int = number(3, 0, 10)  # N, reads of the whole history
    enhancement: bool = True  # the "+"
    enhancement_steps: int = number(3, 1, 10)
    num_heads: int = number(1, 1)  # of the attention; divides embedding_dim
    attention_units: int = number(8, 1)  # hidden width of the attention
    # Of the attention weights. The paper's is `sigmoid`, and says that softmax changes little;
    # here it is worth up to .7 points (docs/results/search.md).
    normalization: str = choice("softmax", "sigmoid", "length")
    differences: bool = True  # e − m and e − v in the attention
    products: bool = True  # e ∘ m and e ∘ v in the attention
    share_attention: bool = False  # one attention for all passes
    feedback: bool = True  # False: every pass attends with the candidate as memory
    gru_start: str = choice("passing_on", "random")  # first values, layers/passing_on.py
    # Beyond the paper: each event is read with the state of a GRU that it leads to.
    states: bool = False
    auxiliary_weight: float = number(1.0, 0.0)  # of the states' next-event loss

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embedding_dim % self.num_heads:
            raise ValueError(
                f"`num_heads` must divide `embedding_dim`, {self.embedding_dim}. "
                f"Received: {self.num_heads}."
            )
        if not (self.differences or self.products):
            raise ValueError(
                "The attention needs `differences`, `products` or both. Received: neither."
            )

    def block(self) -> "IMN":
        """The layer that these options describe."""
        return IMN(self)


class IMN(tf.keras.layers.Layer):
    """Iterative memory update, then memory enhancement.

    With `states` what is read are `e_j + h_j` in the place of the events e, h the states
    of a GRU over them. While training `h_j` should tell `e_{j+1}` from another user's
    event (layers/next_event.py): of DIEN (arXiv 1809.03672) the extractor of interests,
    with IMN in the place of attention and AUGRU.

    Args:
      config: the options.
    """

    def __init__(self, config: IMNConfig, **kwargs: Any):
        super().__init__(**kwargs)
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
    ) -> Any:
        """The user as seen by each candidate, `(B, K, D)`; with the states' loss while training."""
        history, mask, states = self._with_states(history, mask)
        read = history if states is None else history + states
        memory = self.update(read, mask, targets)
        user = self.enhance(memory, targets) if self.enhance else memory
        if training and states is not None and self.auxiliary_weight:
            return user, self.auxiliary_weight * next_event_loss(states, history, mask)
        return user

    def attention_weights(
        self, history: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor
    ) -> tf.Tensor:
        """The weights of every pass, the mean of its heads, `(B, passes, K, L)`.

        With `states` a weight is that of an event and its state, which knows all events
        before it.
        """
        history, mask, states = self._with_states(history, mask)
        if states is None:
            return self.update.attention_weights(history, mask, targets)
        return self.update.attention_weights(history + states, mask, targets)[..., 1:]

    def _with_states(
        self, history: tf.Tensor, mask: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """History, mask and states; where there are states all three have a first place more."""
        if self.extract is None:
            return history, mask, None
        history, mask = prepend_empty_step(history, mask)
        return history, mask, self.extract(history, mask)
