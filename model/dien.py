"""DIEN, the Deep Interest Evolution Network (arXiv 1809.03672)."""

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from model.configs import ModelConfig, choice, number
from model.layers.gated_recurrence import GatedRecurrence


@dataclasses.dataclass(frozen=True)
class DIENConfig(ModelConfig):
    """The options of DIEN."""

    auxiliary_weight: float = number(1.0, 0.0)  # α of the auxiliary loss; 0 leaves it out
    gru_start: str = choice("passing_on", "random")  # first values, layers/passing_on.py

    # Each part runs through its own loop over time, which is what costs.
    length_groups: ClassVar[int] = 2

    def block(self) -> "InterestEvolution":
        """The layer that these options describe."""
        return InterestEvolution(self)


class InterestEvolution(tf.keras.layers.Layer):
    """A GRU over the history, attention to the candidate, an AUGRU over the states.

    `h_t = GRU(e_t)`; `a_t = softmax_t(h_t W v)` (eq. 9); `u` is the last state of an
    AUGRU on `h_t` with `a_t`. While training, `h_t` should tell the next event from
    an event of another user: `−mean(log σ(h_t·e_{t+1}) + log(1 − σ(h_t·ê_{t+1})))`
    (eq. 8). ê is the event at the same place of the next row of the batch: no items
    are drawn, and what is next in a shuffled batch is another user's, nearly always.

    Args:
      config: the options.
    """

    def __init__(self, config: DIENConfig, **kwargs: Any):
        super().__init__(**kwargs)
        self.auxiliary_weight = config.auxiliary_weight
        self.start = config.gru_start

    def build(self, input_shape: Any) -> None:
        """Makes both recurrences as wide as the history, and W."""
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
    ) -> Any:
        """The user `(B, K, D)`, zeros for an empty history; with the loss while training."""
        # A first place of padding, so that a history of no places has one.
        events, mask = tf.pad(history, [[0, 0], [1, 0], [0, 0]]), tf.pad(mask, [[0, 0], [1, 0]])
        filled = tf.cast(mask, history.dtype)[:, :, None]
        states = self.extract(events, mask)
        logits = tf.matmul(self.attention(states), targets, transpose_b=True)
        weights = tf.nn.softmax(logits + (filled - 1) * 1e9, axis=1) * filled
        user = self.evolve.last(states, mask, weights)
        if training and self.auxiliary_weight:
            return user, self.auxiliary_weight * auxiliary_loss(states, events, filled)
        return user


def auxiliary_loss(states: tf.Tensor, events: tf.Tensor, filled: tf.Tensor) -> tf.Tensor:
    """Mean loss of telling the next event from the next row's, over all that have both.

    Args:
      states: h `(B, L, D)`.
      events: e `(B, L, D)`.
      filled: `(B, L, 1)`, 1 where there is an event.

    Returns:
      a scalar; 0 where no state has a next event of its own and of another row.
    """
    # `tf.slice` has a pad as its gradient, which takes less time than that of `[:, 1:]`.
    now = tf.slice(states, [0, 0, 0], [-1, tf.shape(states)[1] - 1, -1])
    following = tf.slice(events, [0, 1, 0], [-1, -1, -1])
    other = tf.roll(following, 1, axis=0)
    both = filled[:, :-1, 0] * filled[:, 1:, 0] * tf.roll(filled, 1, axis=0)[:, 1:, 0]
    # A batch of one has no other row.
    both *= tf.cast(tf.shape(events)[0] > 1, events.dtype)
    right = tf.reduce_sum(now * following, axis=-1)
    wrong = tf.reduce_sum(now * other, axis=-1)
    losses = tf.nn.softplus(-right) + tf.nn.softplus(wrong)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * both), tf.reduce_sum(both))
