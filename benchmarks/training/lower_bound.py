"""The least that a step of IMN can cost: its multiply-adds and gathers, and nothing else.

Each product of matrices that the exact algebra of the attention, the GRU cells,
the enhancement and the head need, forward, and for each the two products of its
gradient; the rows of the tables that the encoder looks up, the sums of their
gradients, and the rows that the optimizer reads and writes. No sum, sigmoid,
mask, bias, loss or search for repeated ids: a step that reaches this floor does
all of that for nothing.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from transforms import features


class Product(NamedTuple):
    """`copies` products of `(rows, inner)` by `(inner, columns)`, computed at once."""

    copies: int
    rows: int
    inner: int
    columns: int

    @property
    def multiply_adds(self) -> int:
        """Multiplications, each with its addition."""
        return self.copies * self.rows * self.inner * self.columns

    def gradients(self) -> tuple["Product", "Product"]:
        """What the gradients of both factors take: as much again, each."""
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
    """The products of one forward step on full histories, one candidate a row."""
    attention = [
        Product(batch, length, dim, units),  # history by the candidate's own kernel
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
    """Those of a step of training: forward, and the gradients of both factors."""
    return 3 * sum(product.multiply_adds for product in forward)


class LookUps(NamedTuple):
    """Ids of one table, the rows that they name, and for each id which of them it is."""

    ids: tf.Tensor
    rows: tf.Tensor
    places: tf.Tensor


def look_ups(batch: dict[str, np.ndarray]) -> dict[str, LookUps]:
    """What a batch of transformed features looks up, by table."""
    names = (features.HISTORY_ITEM, features.TARGET_ITEM)
    all_ids = {
        "item": np.concatenate([batch[name].reshape(-1) for name in names]),
        "time": batch[features.HISTORY_ELAPSED].reshape(-1),
    }
    found = {}
    for table, ids in all_ids.items():
        rows, places = np.unique(ids, return_inverse=True)
        found[table] = LookUps(*(tf.constant(each) for each in (ids, rows, places.reshape(-1))))
    return found


def step(length: int, batch: int, items: int, dim: int) -> Callable[[Any], Any]:
    """The floor of a step, as a function of `look_ups`.

    The history is one tensor, as in the model; every other factor is used once,
    or TensorFlow would compute equal products once.
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
        made = history.get(shape)
        if made is None:
            made = tf.random.normal(shape[1:] if shape[0] == 1 else shape)
        return made

    pairs = [
        (factor(each.copies, each.rows, each.inner), factor(each.copies, each.inner, each.columns))
        for product in forward_products(length, batch, dim)
        for each in (product, *product.gradients())
    ]

    some = tf.TensorSpec([None], tf.int64)
    signature = {name: LookUps(some, some, some) for name in tables}

    @tf.function(input_signature=[signature], autograph=False)
    def compute(given: dict[str, LookUps]) -> list[tf.Tensor]:
        results = [tf.matmul(left, right) for left, right in pairs]
        for name, (table, *moments) in tables.items():
            ids, rows, places = given[name]
            looked_up = tf.gather(table, ids)
            sums = tf.math.unsorted_segment_sum(looked_up, places, tf.size(rows))
            results.append(looked_up)
            for moment in moments:
                moment.scatter_update(tf.IndexedSlices(tf.gather(moment, rows), rows))
            table.scatter_sub(tf.IndexedSlices(sums, rows))
        # One number of each, so that none is left out and none is kept.
        return [tf.reshape(result, [-1])[0] for result in results]

    return compute
