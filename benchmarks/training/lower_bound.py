"""A lower bound of the time of an IMN training step: only its matrix products and gathers.

It computes each matrix product of attention, GRU cells, enhancement and head, and the
two products of each gradient; the look-ups of the embedding tables, the sums of their
gradients, and the rows that the optimizer reads and writes. It leaves out sums,
sigmoids, masks, biases, loss and the search for repeated ids.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from transforms import features


class Product(NamedTuple):
    """A batched matrix product: `copies` times `(rows, inner)` by `(inner, columns)`."""

    copies: int
    rows: int
    inner: int
    columns: int

    @property
    def multiply_adds(self) -> int:
        """Number of multiply-adds."""
        return self.copies * self.rows * self.inner * self.columns

    def gradients(self) -> tuple["Product", "Product"]:
        """The products for the gradients of both factors, each of the same size."""
        return (
            Product(self.copies, self.rows, self.columns, self.inner),
            Product(self.copies, self.inner, self.rows, self.columns),
        )


def forward_products(
    length: int,
    batch: int,
    dim: int,
    units: int = 8,
    passes: int = 3,
    enhancement_steps: int = 3,
    head: tuple[int, ...] = (128, 64),
) -> list[Product]:
    """The products of a forward step on full histories, one candidate for each row."""
    attention = [
        Product(batch, length, dim, units),  # history by the kernel of the candidate
        Product(1, batch * length, units, 1),  # hidden layer to weight
        Product(batch, 1, length, dim),  # weights by history
    ]
    kernel = [Product(1, batch, 2 * dim, units)]  # Wa m + Wb v, for the bias
    gru = [Product(1, batch, dim, 3 * dim), Product(1, batch, dim, 3 * dim)]
    enhancement = [
        Product(1, batch, dim, dim),
        Product(1, batch, 2 * dim, 3 * dim),
        Product(1, batch, dim, 3 * dim),
    ]
    widths = [3 * dim, *head, 1]
    layers = [Product(1, batch, *pair) for pair in itertools.pairwise(widths)]
    return passes * (kernel + attention + gru) + enhancement_steps * enhancement + layers


def multiply_adds(forward: list[Product]) -> int:
    """Multiply-adds of a training step: forward and the gradients of both factors."""
    return 3 * sum(product.multiply_adds for product in forward)


class LookUps(NamedTuple):
    """Ids `(N,)` for a table, distinct ids `rows` `(R,)`, and the index in `rows` of each id."""

    ids: tf.Tensor
    rows: tf.Tensor
    indices: tf.Tensor


def look_ups(batch: dict[str, np.ndarray]) -> dict[str, LookUps]:
    """Look-ups of a batch of transformed features, by table."""
    names = (features.HISTORY_ITEM, features.TARGET_ITEM)
    all_ids = {
        "item": np.concatenate([batch[name].reshape(-1) for name in names]),
        "time": batch[features.HISTORY_ELAPSED].reshape(-1),
    }
    result = {}
    for table, ids in all_ids.items():
        rows, indices = np.unique(ids, return_inverse=True)
        arrays = (ids, rows, indices.reshape(-1))
        result[table] = LookUps(*(tf.constant(each) for each in arrays))
    return result


def step(length: int, batch: int, items: int, dim: int) -> Callable[[Any], Any]:
    """The lower bound of a step, as a function of the result of `look_ups`.

    The history is one tensor, as in the model. Each other factor is a new tensor;
    otherwise TensorFlow would compute equal products only once.
    """
    tables = {
        name: [tf.Variable(tf.random.normal([rows, dim])) for _ in range(3)]  # weights, m, v
        for name, rows in (("item", items), ("time", features.NUM_TIME_BUCKETS))
    }
    history: dict[tuple[int, ...], tf.Tensor] = {
        (batch, length, dim): tf.random.normal([batch, length, dim]),
        (batch, dim, length): tf.random.normal([batch, dim, length]),
    }

    def factor(*shape: int) -> tf.Tensor:
        if shape in history:
            return history[shape]
        return tf.random.normal(shape[1:] if shape[0] == 1 else shape)

    pairs = [
        (factor(each.copies, each.rows, each.inner), factor(each.copies, each.inner, each.columns))
        for product in forward_products(length, batch, dim)
        for each in (product, *product.gradients())
    ]

    vector = tf.TensorSpec([None], tf.int64)
    signature = {name: LookUps(vector, vector, vector) for name in tables}

    @tf.function(input_signature=[signature], autograph=False)
    def compute(inputs: dict[str, LookUps]) -> list[tf.Tensor]:
        results = [tf.matmul(left, right) for left, right in pairs]
        for name, (table, *moments) in tables.items():
            ids, rows, indices = inputs[name]
            looked_up = tf.gather(table, ids)
            sums = tf.math.unsorted_segment_sum(looked_up, indices, tf.size(rows))
            results.append(looked_up)
            for moment in moments:
                moment.scatter_update(tf.IndexedSlices(tf.gather(moment, rows), rows))
            table.scatter_sub(tf.IndexedSlices(sums, rows))
        # One number of each result, so that TensorFlow computes all and keeps none.
        return [tf.reshape(result, [-1])[0] for result in results]

    return compute
