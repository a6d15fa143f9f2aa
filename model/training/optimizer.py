"""Adam whose step costs what the batch touches, not what the tables hold."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class LazyAdam(tf.keras.optimizers.Optimizer):
    """Adam (arXiv 1412.6980) that updates only the rows a sparse gradient names.

    Keras' Adam decays the moments of every row at every step; here a row's
    moments rest while the row is not in a batch. Variables with sparse
    gradients, the embedding tables, have a learning rate of their own.

    Args:
      learning_rate: of variables with dense gradients.
      table_learning_rate: of variables with sparse gradients.
      beta_1: decay of the first moment.
      beta_2: decay of the second.
      epsilon: keeps the division finite.
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
        # Keras' default weight decay of 0 would still sweep every table.
        kwargs.setdefault("weight_decay", None)
        super().__init__(name=name, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.table_learning_rate = table_learning_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Makes two moments for each variable."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._built = True
        self._first = [self.add_variable_from_reference(var, "m") for var in var_list]
        self._second = [self.add_variable_from_reference(var, "v") for var in var_list]

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Moves one variable. Keras has summed repeated rows of a sparse gradient."""
        place = self._index_dict[self._var_key(variable)]
        first, second = self._first[place], self._second[place]
        step = tf.cast(self.iterations + 1, variable.dtype)
        correction = tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))
        if isinstance(gradient, tf.IndexedSlices):
            rows, values = gradient.indices, gradient.values
            rate = self.table_learning_rate * correction
            m = self.beta_1 * tf.gather(first, rows) + (1 - self.beta_1) * values
            v = self.beta_2 * tf.gather(second, rows) + (1 - self.beta_2) * tf.square(values)
            first.scatter_update(tf.IndexedSlices(m, rows))
            second.scatter_update(tf.IndexedSlices(v, rows))
            change = rate * m / (tf.sqrt(v) + self.epsilon)
            variable.scatter_sub(tf.IndexedSlices(change, rows))
        else:
            rate = tf.cast(self.learning_rate, variable.dtype) * correction
            first.assign_add((1 - self.beta_1) * (gradient - first))
            second.assign_add((1 - self.beta_2) * (tf.square(gradient) - second))
            variable.assign_sub(rate * first / (tf.sqrt(second) + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same optimizer again."""
        return {
            **super().get_config(),
            "learning_rate": self._serialize_hyperparameter(self._learning_rate),
            "table_learning_rate": self.table_learning_rate,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }
