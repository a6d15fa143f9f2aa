"""Replicas and workers of tf.distribute: what each adds to a step, and what all of them know.

A replica is a device that computes a part of each batch. A worker is a process with one replica
or more. Without tf.distribute there is one of each.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Worker(NamedTuple):
    """The place of a worker among all.

    Attributes:
      number: from 0, the chief.
      workers: how many there are.
    """

    number: int = 0
    workers: int = 1


def worker(strategy: tf.distribute.Strategy) -> Worker:
    """The place of this process."""
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None or not resolver.task_type:
        return Worker()
    jobs = resolver.cluster_spec()
    chiefs, others = (jobs.num_tasks(job) if job in jobs.jobs else 0 for job in ("chief", "worker"))
    before = chiefs if resolver.task_type == "worker" else 0
    return Worker(before + resolver.task_id, chiefs + others)


def weights(labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The weights that turn means over this replica's rows into its part of a step's means.

    The mean over all R replicas of `weight × mean over a replica's rows` is the mean over the rows
    of all of them, also where their parts of a batch have different sizes.

    Args:
      labels: of this replica's rows `(B,)`, 1 for positives.

    Returns:
      two scalars: R × this replica's share of the rows, for means over rows; and R × its share of
      the positive rows, for means over those. 1 if there is one replica.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return tf.ones([]), tf.ones([])
    own = tf.cast(tf.stack([tf.size(labels, labels.dtype), tf.reduce_sum(labels)]), tf.float32)
    whole = context.all_reduce(tf.distribute.ReduceOp.SUM, own)
    rows, positives = tf.unstack(tf.math.divide_no_nan(own, whole) * context.num_replicas_in_sync)
    return rows, positives


def rows_of_all(
    strategy: tf.distribute.Strategy, columns: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """The rows of all workers, one worker after the other. All workers must call it.

    Args:
      strategy: of the training.
      columns: arrays of this worker `(n, ...)`; n may be another one in each worker.

    Returns:
      an array `(N, ...)` for each column.
    """
    if worker(strategy).workers == 1:
        return list(columns)
    local = len(strategy.extended.worker_devices)

    def own(of: tf.distribute.experimental.ValueContext, column: np.ndarray) -> tf.Tensor:
        # A worker with several replicas gives its rows once.
        return tf.constant(column if of.replica_id_in_sync_group % local == 0 else column[:0])

    values = [
        strategy.experimental_distribute_values_from_function(functools.partial(own, column=column))
        for column in columns
    ]

    def gathered(*columns: tf.Tensor) -> list[tf.Tensor]:
        on_device = [tf.identity(column) for column in columns]
        return tf.distribute.get_replica_context().all_gather(on_device, axis=0)

    result = tf.function(lambda *args: strategy.run(gathered, args), autograph=False)(*values)
    return [strategy.experimental_local_results(column)[0].numpy() for column in result]


def require_same(strategy: tf.distribute.Strategy, what: str, number: int) -> None:
    """Checks that all workers have the same number, such as a digest. All workers must call it.

    Args:
      strategy: of the training.
      what: what the number stands for, for the message.
      number: of this worker, below 2^63.

    Raises:
      ValueError: if they differ; in all workers.
    """
    (numbers,) = rows_of_all(strategy, [np.array([number], np.int64)])
    others = [str(index) for index, other in enumerate(numbers) if other != numbers[0]]
    if others:
        raise ValueError(
            f"All workers must have the same {what}. Worker {', '.join(others)} differs from the "
            "chief. Give all of them the same folders at the same paths, and the same code."
        )
