"""MIMN, the Multi-channel user Interest Memory Network (arXiv 1905.09248)."""

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from model.configs import ModelConfig, number


@dataclasses.dataclass(frozen=True)
class MIMNConfig(ModelConfig):
    """The options of MIMN."""

    slots: int = number(4, 1, 64)  # of the memory
    utilisation: float = number(0.1, 0.0)  # λ of the utilisation regularisation; 0 leaves it out
    induction: bool = True  # the memory induction unit

    # Only the last read knows the candidate, and each part is a loop over time.
    length_groups: ClassVar[int] = 1

    def block(self) -> "InterestMemory":
        """The layer that these options describe."""
        return InterestMemory(self)


class InterestMemory(tf.keras.layers.Layer):
    """A memory written event by event, and read for the candidate.

    At each event a GRU controller reads `[x_t ; r_{t−1}]`; a head of it addresses the slots by
    `w = softmax(β cos(k, M))`, one to read (`r = Σ_i w_i M_i`), one to write with an erase and
    an add vector (`M_i ← (1 − w_i e) M_i + w_i a`). With utilisation regularisation the
    write weights are balanced, `w̃_t = w_t ∘ softmax(W g_t)`, g_t being the sum of those so
    far, and `λ Σ_i (w̃_i − mean)²` of their sum over time is added to the loss. The
    induction unit is a GRU a slot, with shared weights, of which each event moves the
    one of the slot read most, with `[M_i ; x_t]`. In the end `u` is what the candidate reads
    from memory and induction states, projected to D; the paper feeds them to the head
    as they are.

    Args:
      config: the options.
    """

    def __init__(self, config: MIMNConfig, **kwargs: Any):
        super().__init__(**kwargs)
        self.slots = config.slots
        self.utilisation = config.utilisation
        self.induction = config.induction

    def build(self, input_shape: Any) -> None:
        """Makes the controller, its heads, the first memory and the induction unit."""
        dim, slots, dense = input_shape[-1], self.slots, tf.keras.layers.Dense
        # What does not wait for a state is computed for all events at once.
        self.controller_input = dense(3 * dim)
        self.controller = Gates(dim)
        # Read key, write key, erase, add; and the sharpness of each key.
        self.heads = dense(4 * dim + 2)
        self.memory = self.add_weight(
            name="memory",
            shape=(slots, dim),
            initializer=tf.keras.initializers.RandomNormal(stddev=0.1),
        )
        if self.utilisation:
            self.balance = self.add_weight(
                name="balance", shape=(slots, slots), initializer="zeros"
            )
        if self.induction:
            self.induction_input = dense(3 * dim)
            self.induction_unit = Gates(dim)
        self.final_key = dense(dim)
        self.final_sharpness = self.add_weight(
            name="final_sharpness", shape=(), initializer="zeros"
        )
        self.projection = dense(dim)
        super().build(input_shape)

    def call(
        self,
        history: tf.Tensor,
        mask: tf.Tensor,
        targets: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> Any:
        """The user `(B, K, D)`; with the loss while training. See `ModelConfig.block`.

        An empty history leaves the first memory, which is then what is read.
        """
        memory, induced, usage = self.remember(history, mask)
        key = self.final_key(targets)
        weights = addressed(key, memory, tf.nn.softplus(self.final_sharpness) + 1)
        reads = [tf.matmul(weights, memory)]
        if self.induction:
            reads.append(tf.matmul(weights, induced))
        user = self.projection(tf.concat(reads, axis=-1))
        if training and self.utilisation:
            uneven = tf.square(usage - tf.reduce_mean(usage, axis=1, keepdims=True))
            rows = tf.cast(tf.maximum(tf.shape(usage)[0], 1), usage.dtype)
            return user, self.utilisation * tf.reduce_sum(uneven) / rows
        return user

    def remember(
        self, history: tf.Tensor, mask: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Memory `(B, S, D)`, induction states `(B, S, D)`, summed write weights `(B, S)`."""
        rows, length, dim = tf.shape(history)[0], tf.shape(history)[1], history.shape[-1]
        by_time = [1, 0, 2]
        sequences = [
            tf.transpose(self.controller_input(history), by_time),
            tf.cast(tf.transpose(mask)[:, :, None], history.dtype),
        ]
        if self.induction:
            sequences.append(tf.transpose(self.induction_input(history), by_time))
        arrays = [tf.TensorArray(history.dtype, length).unstack(each) for each in sequences]

        def step(place: tf.Tensor, *state: tf.Tensor) -> tuple:
            given = [array.read(place) for array in arrays]
            fresh = self._event(given, *state)
            filled = given[1]
            kept = []
            for old, new in zip(state, fresh, strict=True):
                moved = filled if len(old.shape) == 2 else filled[:, :, None]
                kept.append(old + moved * (new - old))
            return (place + 1, *kept)

        def zeros(*shape: Any) -> tf.Tensor:
            return tf.zeros([rows, *shape], history.dtype)

        memory = tf.tile(self.memory[None], [rows, 1, 1])
        state = (zeros(dim), zeros(dim), memory, zeros(self.slots, dim), zeros(self.slots))
        _, _, _, memory, induced, usage = tf.while_loop(
            lambda place, *_: place < length, step, (0, *state), parallel_iterations=1
        )
        return memory, induced, usage

    def _event(
        self,
        given: list[tf.Tensor],
        hidden: tf.Tensor,
        read: tf.Tensor,
        memory: tf.Tensor,
        induced: tf.Tensor,
        usage: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """The state after one event, as if it were filled."""
        dim = hidden.shape[-1]
        hidden = self.controller(given[0], read, hidden)
        keys, erase, add, sharpness = tf.split(self.heads(hidden), [2 * dim, dim, dim, 2], axis=1)
        weights = addressed(
            tf.reshape(keys, [-1, 2, dim]), memory, tf.nn.softplus(sharpness)[:, :, None] + 1
        )
        reading, writing = weights[:, 0], weights[:, 1]
        if self.utilisation:
            writing *= tf.nn.softmax(tf.matmul(usage, self.balance))
        read = tf.matmul(weights[:, :1], memory)[:, 0]
        erased = writing[:, :, None] * tf.sigmoid(erase)[:, None, :]
        memory = memory * (1 - erased) + writing[:, :, None] * tf.tanh(add)[:, None, :]
        if self.induction:
            moved = self.induction_unit(given[2][:, None, :], memory, induced)
            most = tf.one_hot(tf.argmax(reading, axis=1), self.slots, dtype=memory.dtype)
            induced += most[:, :, None] * (moved - induced)
        return hidden, read, memory, induced, usage + writing


class Gates(tf.keras.layers.Layer):
    """A GRU cell whose input comes in two parts, one of them projected before.

    Args:
      units: width of the state.
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.gates = tf.keras.layers.Dense(2 * units, use_bias=False)
        self.fresh = tf.keras.layers.Dense(units, use_bias=False)

    def call(self, projected: tf.Tensor, other: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """The next state `(..., units)`, of inputs `(..., 3 units)` and `(..., D)`."""
        units = self.units
        both = tf.concat([other, state], axis=-1)
        update, reset = tf.split(
            tf.sigmoid(projected[..., : 2 * units] + self.gates(both)), 2, axis=-1
        )
        reset_state = tf.concat([other, reset * state], axis=-1)
        fresh = tf.tanh(projected[..., 2 * units :] + self.fresh(reset_state))
        return state + update * (fresh - state)


def addressed(keys: tf.Tensor, memory: tf.Tensor, sharpness: tf.Tensor) -> tf.Tensor:
    """`softmax_i(β cos(k, M_i))` `(B, K, S)` of keys `(B, K, D)` and a memory `(B, S, D)`."""
    cosine = tf.matmul(_unit(keys), _unit(memory), transpose_b=True)
    return tf.nn.softmax(sharpness * cosine)


def _unit(values: tf.Tensor) -> tf.Tensor:
    """Vectors of length 1; those without a length stay near 0, with a finite gradient."""
    return values * tf.math.rsqrt(tf.reduce_sum(tf.square(values), axis=-1, keepdims=True) + 1e-6)
