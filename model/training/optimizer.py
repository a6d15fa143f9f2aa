"""LazyAdam: Adam that updates only the embedding rows of the batch."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class LazyAdam(tf.keras.optimizers.Optimizer):
    """Adam (arXiv 1412.6980) with two learning rates and lazy updates of sparse gradients.

    The moments of an embedding row change only in steps whose batch holds the row, so the
    cost of a step depends on the batch, not on the size of the tables. Keras' Adam decays
    the moments of every row in every step.

    XLA is off, also on a GPU (`jit_compile=False`). A sparse gradient has another number of
    rows in each batch, and XLA compiles again for every new shape.

    Args:
      learning_rate: of variables with dense gradients.
      table_learning_rate: of variables with sparse gradients (the embedding tables).
      beta_1: decay of the first moment.
      beta_2: decay of the second moment.
      epsilon: constant in the denominator of the update.
      name: name of the optimizer.
      **kwargs: arguments of `tf.keras.optimizers.Optimizer`, e.g. `clipnorm`.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        table_learning_rate: float = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str = "LazyAdam",
        **kwargs: Any,
    ):
        # With Keras' default, a weight decay of 0, every step would rewrite whole tables.
        kwargs.setdefault("weight_decay", None)
        # Keras' default is True where TensorFlow lists a GPU.
        kwargs.setdefault("jit_compile", False)
        super().__init__(name=name, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.table_learning_rate = table_learning_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Creates both moments of each variable."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._built = True
        self._first = [self.add_variable_from_reference(var, "m") for var in var_list]
        self._second = [self.add_variable_from_reference(var, "v") for var in var_list]

    @property
    def first_moments(self) -> list[tf.Variable]:
        """The first moment of each variable of `build`, in that order."""
        return self._first

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Updates one variable. Keras has already summed repeated rows of a sparse gradient."""
        index = self._index_dict[self._var_key(variable)]
        first, second = self._first[index], self._second[index]
        step = tf.cast(self.iterations + 1, variable.dtype)
        correction = tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))
        if isinstance(gradient, tf.IndexedSlices):
            rows, values = gradient.indices, gradient.values
            rate = self.table_learning_rate * correction
            m = self.beta_1 * tf.gather(first, rows) + (1 - self.beta_1) * values
            v = self.beta_2 * tf.gather(second, rows) + (1 - self.beta_2) * tf.square(values)
            first.scatter_update(tf.IndexedSlices(m, rows))
            second.scatter_update(tf.IndexedSlices(v, rows))
            update = rate * m / (tf.sqrt(v) + self.epsilon)
            variable.scatter_sub(tf.IndexedSlices(update, rows))
        else:
            rate = tf.cast(self.learning_rate, variable.dtype) * correction
            first.assign_add((1 - self.beta_1) * (gradient - first))
            second.assign_add((1 - self.beta_2) * (tf.square(gradient) - second))
            variable.assign_sub(rate * first / (tf.sqrt(second) + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`, for `from_config`."""
        return {
            **super().get_config(),
            "learning_rate": self._serialize_hyperparameter(self._learning_rate),
            "table_learning_rate": self.table_learning_rate,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }
