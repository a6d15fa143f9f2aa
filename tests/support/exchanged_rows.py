"""IMN, and a record of the rows of tables that replicas exchange in a training.

The record needs a folder in the environment, `EXCHANGED_ROWS`. Each replica writes a line for each
step whose gradient of the item table is sparse: its own rows, and those of the gradient that is
applied.
"""

import os
import pathlib

import numpy as np
import tensorflow as tf

from model.imn import IMNConfig as Config
from model.training.optimizer import LazyAdam

__all__ = ["FOLDER", "Config", "read"]

FOLDER = "EXCHANGED_ROWS"


def read(folder):
    """`(steps, 2)` by the number of the replica."""
    files = pathlib.Path(folder).glob("*.txt")
    return {int(file.stem): np.loadtxt(file, np.int64, ndmin=2) for file in files}


def _record(replica, own, applied):
    file = pathlib.Path(os.environ[FOLDER], f"{replica}.txt")
    with file.open("a") as lines:
        lines.write(f"{own} {applied}\n")


def _aggregated(self, pairs, original=LazyAdam.aggregate_gradients):
    pairs = list(pairs)
    applied = list(original(self, pairs))
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    for (own, variable), (whole, _) in zip(pairs, applied, strict=True):
        sparse = isinstance(own, tf.IndexedSlices) and isinstance(whole, tf.IndexedSlices)
        if sparse and "item_table" in variable.name:
            rows = [tf.size(own.indices), tf.size(whole.indices)]
            tf.numpy_function(_record, [replica, *rows], [])
    return applied


if FOLDER in os.environ:
    LazyAdam.aggregate_gradients = _aggregated
