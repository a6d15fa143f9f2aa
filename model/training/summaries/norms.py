"""Norms of gradients, updates and weights by group of variables, for single steps.

The compiled training step stays as it is, because the norms come from copies of the variables
before and after it. Adam's first moment gives the gradient: `g = (m' − β₁ m) / (1 − β₁)`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from model.ranker import Ranker
from model.training.optimizer import LazyAdam
from transforms import features

# Tables with more rows are not copied whole, only the rows of the batch.
_FEW = 10_000


class _Copy(NamedTuple):
    """Of one variable before a step: the rows that were copied (None is all), weights, moment."""

    rows: tf.Tensor | None
    weights: tf.Tensor
    moment: tf.Tensor


class Norms:
    """Norms of the next step.

    Groups are the item table, the other tables, each layer of the block, the head, and the first
    stage. For a large table, weights are those of the batch's rows.

    Args:
      ranker: built.
      optimizer: built, with the moments of the ranker's trainable variables.
    """

    def __init__(self, ranker: Ranker, optimizer: LazyAdam):
        self._encoder, self._optimizer = ranker.encoder, optimizer
        self._variables = ranker.trainable_variables
        first_stage = ranker.retrieval.encoder.tables if ranker.retrieval else {}
        table_of = {
            table.ref(): name
            for tables in (ranker.encoder.tables, first_stage)
            for name, table in tables.items()
        }
        self._tables = [table_of.get(variable.ref(), "") for variable in self._variables]
        self._groups = [_group(name) for name in names(ranker)]
        self._copies: list[_Copy] | None = None

    def before(self, batch: Mapping[str, Any]) -> None:
        """Copies what the step will change.

        Args:
          batch: transformed features of the step.
        """
        items = [batch[features.HISTORY_ITEM], batch[features.TARGET_ITEM]]
        items = tf.unique(tf.concat([tf.reshape(ids, [-1]) for ids in items], axis=0))[0]
        self._copies = []
        for variable, moment, table in self._each():
            rows = self._rows(table, variable.shape[0], items, batch) if table else None
            self._copies.append(_Copy(rows, _read(variable, rows), _read(moment, rows)))

    def after(self) -> dict[str, float]:
        """Norms of the step since `before`, by tag; empty without one."""
        if self._copies is None:
            return {}
        squares: dict[str, float] = {}
        beta = self._optimizer.beta_1
        for copy, group, (variable, moment, _) in zip(
            self._copies, self._groups, self._each(), strict=True
        ):
            gradient = (_read(moment, copy.rows) - beta * copy.moment) / (1 - beta)
            update = _read(variable, copy.rows) - copy.weights
            for kind, values in (
                ("gradient_norm", gradient),
                ("update_norm", update),
                ("weight_norm", copy.weights),
            ):
                flat = values.numpy().ravel()
                tag = f"{kind}/{group}"
                squares[tag] = squares.get(tag, 0.0) + float(np.dot(flat, flat))
        self._copies = None
        return {tag: square**0.5 for tag, square in squares.items()}

    def _each(self) -> Iterable[tuple[tf.Variable, tf.Variable, str]]:
        return zip(self._variables, self._optimizer.first_moments, self._tables, strict=True)

    def _rows(
        self, table: str, count: int, items: tf.Tensor, batch: Mapping[str, Any]
    ) -> tf.Tensor | None:
        """The rows of a table that a batch can change; None for all."""
        if count <= _FEW:
            return None
        if table == "item":  # the last row is that of hidden ids
            rows = tf.concat([tf.minimum(items, count - 1), [count - 1]], axis=0)
        elif self._encoder.attributes and table.startswith("field_"):
            rows = self._encoder.attributes.values(tf.cast(items, tf.int32))[
                table.removeprefix("field_")
            ]
        else:
            (name,) = (
                name
                for name in self._encoder.event_fields
                if features.event_vocabulary(name) == table
            )
            rows = batch[features.history_feature(name)]
        return tf.unique(tf.reshape(rows, [-1]))[0]


def _read(variable: tf.Variable, rows: tf.Tensor | None) -> tf.Tensor:
    return tf.identity(variable) if rows is None else tf.gather(variable, rows)


def names(ranker: Ranker) -> list[str]:
    """Short names of the trainable variables, such as `imn/memory_update/gru_cell/kernel`."""
    first_stage = ranker.retrieval.trainable_variables if ranker.retrieval else []
    own = {variable.ref() for variable in first_stage}
    found: list[str] = []
    for variable in ranker.trainable_variables:
        name = variable.name.split(":")[0].removeprefix(f"{ranker.name}/")
        # Keras numbers the layers of a process, so that a second training had other names.
        name = re.sub(r"_\d+(?=/)", "", name)
        name = f"first_stage/{name}" if variable.ref() in own else name
        again = sum(other == name or other.startswith(f"{name}#") for other in found)
        found.append(f"{name}#{again + 1}" if again else name)
    return found


def _group(name: str) -> str:
    """The group of a variable of this name: a table, a part of the model, a layer of the block."""
    part, *layers, last = (re.sub(r"_\d+$", "", word) for word in name.split("/"))
    if part == "history_encoder":
        return "item_table" if last == "item_table" else "other_tables"
    return part if part in ("head", "first_stage") else "/".join([part, *layers[:1]])
