"""MIMN, the Multi-channel user Interest Memory Network (arXiv 1905.09248)."""

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from model.configs import ModelConfig, choice, number
from model.layers.packed import Packed
from model.layers.passing_on import starting


@dataclasses.dataclass(frozen=True)
class MIMNConfig(ModelConfig):
    """The options of MIMN."""

    slots: int = number(4, 1, 64)  # m, of the memory
    utilisation: float = number(0.1, 0.0)  # λ; 0: slots neither rebalanced nor regularised
    induction: bool = True  # the memory induction unit
    gru_start: str = choice("passing_on", "random")  # first values, layers/passing_on.py

    # Each part would run through a loop of its own, and padding costs nothing here.
    length_groups: ClassVar[int] = 1

    def block(self) -> "MemoryNetwork":
        """The layer that these options describe."""
        return MemoryNetwork(self)


class MemoryNetwork(tf.keras.layers.Layer):
    """A neural Turing machine over the history, read by each candidate.

    Per event x, with a memory M of m slots and β one positive number a head:

        `h = GRU([x ; r], h)`, and from h: keys k_r and k_w, erase e (σ), add a (tanh);
        `w_r = softmax_i(β_r cos(k_r, M_i))`, `r = Σ_i w_r,i M_i`      (eq. 1-3)
        `w_w = softmax_i(β_w cos(k_w, M_i) + (W_g g)_i)`, `g ← g + w_w` (utilisation)
        `M_i ← (1 − w_w,i e) ∘ M_i + w_w,i a`                          (write)
        `S_i ← GRU([x ; M_i], S_i)` for the slot i with the largest w_r (induction)

    At the end the candidate's key reads M and S with the same weights, and a matrix
    makes the user of both. The regularisation is `λ Σ_i (g_i / n − 1 / m)²`, the
    mean over rows, of histories of n events.

    Differences from the paper: the rebalancing `w_w ∘ softmax(W_g g)` is scaled to
    sum to 1 again, which is the sum of logits above, or else all writes shrink; g is
    of the events before; shares of a history are regularised, not sums, or long
    histories weigh by the square of their length; the induction takes one slot; the
    first memory is learned, for slots that start equal stay equal.

    Args:
      config: the options.
    """

    def __init__(self, config: MIMNConfig, **kwargs: Any):
        super().__init__(**kwargs)
        self.slots = config.slots
        self.utilisation = config.utilisation
        self.induction = config.induction
        self.start = config.gru_start

    def build(self, input_shape: Any) -> None:
        """Makes everything as wide as the history."""
        dim, slots = input_shape[-1], self.slots
        self.controller = Cell(dim, self.start)
        self.inductor = Cell(dim, self.start) if self.induction else None
        self.emit = self.add_weight(name="emit", shape=(dim, 4 * dim))  # k_r, k_w, e, a
        self.emit_bias = self.add_weight(name="emit_bias", shape=(4 * dim,), initializer="zeros")
        # Of reading, writing and the last read.
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
    ) -> Any:
        """The user `(B, K, D)`, of the first memory for an empty history; see `ModelConfig.block`.

        With the loss while training, if there is `utilisation`.
        """
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
        return user, self.utilisation * tf.reduce_sum(spread) / rows

    def memory_of(
        self, history: tf.Tensor, mask: tf.Tensor, beta: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`[M ; S]` `(B, m, 2D)`, or M alone, after the history, and g `(B, m)`."""
        dim, slots, dtype = history.shape[-1], self.slots, history.dtype
        # A first place of padding, so that a history of no places has one.
        history, mask = tf.pad(history, [[0, 0], [1, 0], [0, 0]]), tf.pad(mask, [[0, 0], [1, 0]])
        packed = Packed(mask)
        # What does not wait for a state is computed here, at once: a step costs by how
        # many operations it has.
        events = packed.flat(history)
        read_at = packed.columns(self.controller.given(events))
        induced_at = packed.columns(self.inductor.given(events)) if self.inductor else None
        controller = self.controller.kernel()
        inductor = self.inductor.kernel() if self.inductor else None
        beta = beta[:2, None]
        if self.utilisation:
            # Reading is not rebalanced.
            rebalance = tf.concat([tf.zeros_like(self.rebalance), self.rebalance], axis=1)
        emit, bias = tf.convert_to_tensor(self.emit), tf.convert_to_tensor(self.emit_bias)
        # h, r, M, g, S of a row before its first event; None is zeros.
        first = [None, None, tf.convert_to_tensor(self.first), None, None]
        shapes = [[dim], [dim], [slots, dim], [slots], [slots, dim]]

        def step(column: tf.Tensor, *states: tf.Tensor) -> Any:
            h, r, memory, used, induced = (
                packed.joined(state, column, before)
                for state, before in zip(states, first, strict=True)
            )
            h = Cell.step(read_at.read(column), h, r, controller)
            emitted = tf.reshape(tf.matmul(h, emit) + bias, [-1, 4, dim])
            keys, erase, add = tf.split(emitted, [2, 1, 1], axis=1)
            logits = beta * cosine(keys, memory)
            if self.utilisation:
                logits += tf.reshape(tf.matmul(used, rebalance), [-1, 2, slots])
            weights = tf.nn.softmax(logits)
            reading, writing = tf.unstack(weights, axis=1)
            r = tf.reduce_sum(reading[:, :, None] * memory, axis=1)
            memory += writing[:, :, None] * (tf.tanh(add) - tf.sigmoid(erase) * memory)
            if self.utilisation:
                used += writing
            if induced_at is not None:
                top = tf.one_hot(tf.argmax(reading, axis=1), slots, dtype=dtype)[:, :, None]
                old = tf.reduce_sum(top * induced, axis=1)
                of_slot = tf.reduce_sum(top * memory, axis=1)
                new = Cell.step(induced_at.read(column), old, of_slot, inductor)
                induced += top * (new - old)[:, None, :]
            return h, r, memory, used, induced

        last = packed.run(step, [tf.zeros([0, *shape], dtype) for shape in shapes])
        _, _, memory, used, induced = (
            packed.rows(state, before) for state, before in zip(last, first, strict=True)
        )
        return tf.concat([memory, induced], axis=2) if self.inductor else memory, used


class Cell(tf.keras.layers.Layer):
    """A GRU with two inputs, `GRU([x ; y], h)`, of which x is known before.

    `z = σ(Wz x + Vz y + Uz h + bz)`, `r = σ(Wr x + Vr y + Ur h + br)`,
    `c = tanh(Wc x + Vc y + r ∘ Uc h + bc)`, `h' = (1 − z) ∘ h + z ∘ c`.

    Args:
      units: D, width of x, y and h.
      start: first values of W, `random` or `passing_on`.
    """

    def __init__(self, units: int, start: str = "random", **kwargs: Any):
        super().__init__(**kwargs)
        self.x_kernel = self.add_weight(
            name="x_kernel", shape=(units, 3 * units), initializer=starting(start)
        )
        self.y_kernel = self.add_weight(name="y_kernel", shape=(units, 3 * units))
        self.h_kernel = self.add_weight(
            name="h_kernel", shape=(units, 3 * units), initializer="orthogonal"
        )
        self.bias = self.add_weight(name="bias", shape=(3 * units,), initializer="zeros")
        self.units = units

    def given(self, x: tf.Tensor) -> tf.Tensor:
        """What x `(N, D)` adds to z, r, c and `Uc h`, `(N, 4D)`."""
        return tf.pad(tf.matmul(x, self.x_kernel) + self.bias, [[0, 0], [0, self.units]])

    def kernel(self) -> tf.Tensor:
        """Of `[h ; y]`, `(2D, 4D)`: `Uc h` stands apart from `Vc y`, being reset."""
        units, none = 2 * self.units, tf.zeros_like(self.h_kernel[:, : self.units])
        h = tf.concat([self.h_kernel[:, :units], none, self.h_kernel[:, units:]], axis=1)
        return tf.concat([h, tf.concat([self.y_kernel, none], axis=1)], axis=0)

    @staticmethod
    def step(given: tf.Tensor, h: tf.Tensor, y: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """The next h `(B, D)`."""
        z, r, c, of_h = tf.split(given + tf.matmul(tf.concat([h, y], axis=1), kernel), 4, axis=1)
        return h + tf.sigmoid(z) * (tf.tanh(c + tf.sigmoid(r) * of_h) - h)


def cosine(keys: tf.Tensor, memory: tf.Tensor) -> tf.Tensor:
    """Cosines `(B, N, m)` of keys `(B, N, D)` and slots `(B, m, D)`; 0 for a zero vector."""
    keys *= tf.math.rsqrt(tf.reduce_sum(tf.square(keys), axis=2, keepdims=True) + 1e-6)
    memory *= tf.math.rsqrt(tf.reduce_sum(tf.square(memory), axis=2, keepdims=True) + 1e-6)
    return tf.matmul(keys, memory, transpose_b=True)
