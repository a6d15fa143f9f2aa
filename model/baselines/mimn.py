"""MIMN, the Multi-channel user Interest Memory Network (arXiv 1905.09248)."""

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from model.baselines import mimn_memory
from model.configs import ModelConfig, choice, number
from model.layers.block import BlockOutput, SequenceBlock
from model.layers.gru import gated_states
from model.layers.initializers import candidate_kernel
from model.layers.packed_sequence import Packed, prepend_empty_step


@dataclasses.dataclass(frozen=True)
class MIMNConfig(ModelConfig):
    """The options of MIMN."""

    slots: int = number(4, 1, 64)  # m, of the memory
    utilisation: float = number(0.1, 0.0)  # λ; 0 switches rebalancing and regularization off
    induction: bool = True  # the memory induction unit
    gru_start: str = choice("passing_on", "random")  # initial values, layers/initializers.py

    # Each group would run through its own loop over time, and padding costs nothing here.
    length_groups: ClassVar[int] = 1

    def block(self) -> "MemoryNetwork":
        """The layer that these options describe."""
        return MemoryNetwork(self)


class MemoryNetwork(SequenceBlock):
    """A neural Turing machine over the history, read by each candidate.

    Each event x writes to a memory M of m slots and adds its write weights to g
    (`mimn_memory.memories`, eq. 1-3 and the utilization). Then, for the slot i with the largest
    read weight,

        `S_i ← GRU([x ; M_i], S_i)` (induction).

    At the end the candidate's key reads M and S with the same weights, and a dense layer turns
    both into the user. The regularization is `λ Σ_i (g_i / n − 1 / m)²` for a history of n events,
    averaged over the rows.

    Differences from the paper:
    - The rebalanced weights `w_w ∘ softmax(W_g g)` are scaled to sum to 1, which is the sum of
      logits above. Otherwise all writes shrink.
    - g covers the events before the current one.
    - Shares of a history are regularized, not sums. Otherwise the weight of a history would grow
      with the square of its length.
    - The induction updates one slot.
    - The initial memory is learned, because slots that start equal stay equal.

    Args:
      config: the options.
    """

    config_class = MIMNConfig

    def __init__(self, config: MIMNConfig, **kwargs: Any):
        super().__init__(config, **kwargs)
        self.slots = config.slots
        self.utilisation = config.utilisation
        self.induction = config.induction
        self.start = config.gru_start

    def build(self, input_shape: Any) -> None:
        """Creates all weights, as wide as the history."""
        dim, slots = input_shape[-1], self.slots
        self.controller = GRUWeights(dim, self.start)
        self.inductor = GRUWeights(dim, self.start) if self.induction else None
        self.emit = self.add_weight(name="emit", shape=(dim, 4 * dim))  # k_r, k_w, e, a
        self.emit_bias = self.add_weight(name="emit_bias", shape=(4 * dim,), initializer="zeros")
        # For the reads, the writes and the final read.
        self.sharpness = self.add_weight(name="sharpness", shape=(3,), initializer="zeros")
        self.first = self.add_weight(
            name="first_memory",
            shape=(slots, dim),
            initializer=tf.keras.initializers.RandomNormal(stddev=0.1),
        )
        if self.utilisation:
            self.rebalance = self.add_weight(
                name="rebalance", shape=(slots, slots), initializer="zeros"
            )
        self.candidate_key = tf.keras.layers.Dense(dim, use_bias=False)
        self.user = tf.keras.layers.Dense(dim)
        super().build(input_shape)

    def call(
        self,
        history: tf.Tensor,
        mask: tf.Tensor,
        targets: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor | BlockOutput:
        """The user `(B, K, D)`; for an empty history it is read from the initial memory."""
        beta = tf.nn.softplus(self.sharpness) + 1
        memory, shares = self.memory_of(history, mask, beta)
        keys = self.candidate_key(targets)
        weights = tf.nn.softmax(beta[2] * cosine(keys, memory[..., : keys.shape[-1]]))
        user = self.user(tf.matmul(weights, memory))
        if not (training and self.utilisation):
            return user
        count = tf.reduce_sum(tf.cast(mask, history.dtype), axis=1, keepdims=True)
        shares = tf.math.divide_no_nan(shares, count)
        spread = tf.square(shares - tf.reduce_mean(shares, axis=1, keepdims=True))
        rows = tf.cast(tf.maximum(tf.shape(mask)[0], 1), history.dtype)
        return BlockOutput(user, self.utilisation * tf.reduce_sum(spread) / rows)

    def memory_of(
        self, history: tf.Tensor, mask: tf.Tensor, beta: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`[M ; S]` `(B, m, 2D)` after the history (M alone without induction), and g `(B, m)`."""
        history, mask = prepend_empty_step(history, mask)
        packed = Packed(mask)
        events, first = packed.flat(history), tf.convert_to_tensor(self.first)
        rebalance = self.rebalance if self.utilisation else tf.zeros([self.slots, self.slots])
        memories, used, reading = mimn_memory.memories(
            packed,
            self.controller.input_terms(events),
            self.controller.y_kernel,
            self.controller.h_kernel,
            self.emit,
            self.emit_bias,
            beta[:2],
            tf.cast(rebalance, history.dtype),
            first,
        )
        memory, used = packed.newest(memories, first), packed.newest(used)
        if self.inductor is None:
            return memory, used
        # The GRU of a slot processes the events that read this slot most. No other step depends
        # on it, so each slot becomes a history of its own with these events.
        top = tf.argmax(reading, axis=1, output_type=tf.int32)
        of_slots, order = packed.divided(top, self.slots)
        read = tf.gather_nd(memories, tf.stack([tf.range(tf.size(top)), top], axis=1))
        given = self.inductor.input_terms(events) + tf.matmul(read, self.inductor.y_kernel)
        states = gated_states(of_slots, tf.gather(given, order), self.inductor.h_kernel)
        induced = tf.reshape(of_slots.newest(states), tf.shape(memory))
        return tf.concat([memory, induced], axis=2), used


class GRUWeights(tf.keras.layers.Layer):
    """A GRU with two inputs, `GRU([x ; y], h)`.

    `z = σ(Wz x + Vz y + Uz h + bz)`, `r = σ(Wr x + Vr y + Ur h + br)`,
    `c = tanh(Wc x + Vc y + r ∘ Uc h + bc)`, `h' = (1 − z) ∘ h + z ∘ c`.

    Args:
      units: D, width of x, y and h.
      start: initial values of W, `random` or `passing_on`.
    """

    def __init__(self, units: int, start: str = "random", **kwargs: Any):
        super().__init__(**kwargs)
        self.units, self.start = units, start
        self.x_kernel = self.add_weight(
            name="x_kernel", shape=(units, 3 * units), initializer=candidate_kernel(start)
        )
        self.y_kernel = self.add_weight(name="y_kernel", shape=(units, 3 * units))
        self.h_kernel = self.add_weight(
            name="h_kernel", shape=(units, 3 * units), initializer="orthogonal"
        )
        self.bias = self.add_weight(name="bias", shape=(3 * units,), initializer="zeros")

    def input_terms(self, x: tf.Tensor) -> tf.Tensor:
        """The terms of x `(N, D)` in z, r and c, `(N, 3D)`."""
        return tf.matmul(x, self.x_kernel) + self.bias

    def get_config(self) -> dict[str, Any]:
        """The arguments that create the same layer, for Keras."""
        return super().get_config() | {"units": self.units, "start": self.start}


def cosine(keys: tf.Tensor, memory: tf.Tensor) -> tf.Tensor:
    """Cosine similarity `(B, N, m)` of keys `(B, N, D)` and slots `(B, m, D)`; 0 for zeros."""
    keys *= tf.math.rsqrt(tf.reduce_sum(tf.square(keys), axis=2, keepdims=True) + 1e-6)
    memory *= tf.math.rsqrt(tf.reduce_sum(tf.square(memory), axis=2, keepdims=True) + 1e-6)
    return tf.matmul(keys, memory, transpose_b=True)
