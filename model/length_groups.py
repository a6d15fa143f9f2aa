"""Runs the sequence block on groups of rows with histories of similar length."""

from typing import NamedTuple

import tensorflow as tf

from model import attribute_match
from model.layers.block import BlockOutput, SequenceBlock
from model.layers.encoder import DistinctItems, HistoryEncoder
from transforms import features


class GroupedOutput(NamedTuple):
    """Output of the block for N rows of a batch with K candidates each.

    Attributes:
      rows: indices of the rows in the batch `(N,)`, sorted by the length of their history.
      user: u `(N, K, D')`, in the order of `rows`.
      targets: embeddings of the candidates `(N, K, D)`, in the order of `rows`.
      loss: the block's own loss, summed over the rows; 0 for a block without one.
    """

    rows: tf.Tensor
    user: tf.Tensor
    targets: tf.Tensor
    loss: tf.Tensor


def block_by_length(
    encoder: HistoryEncoder,
    block: SequenceBlock,
    inputs: dict[str, tf.Tensor],
    rows: tf.Tensor,
    candidates: tf.Tensor,
    groups: int,
    training: bool = False,
    seed: tf.Tensor | None = None,
    distinct: DistinctItems | None = None,
) -> GroupedOutput:
    """Encodes some rows and runs the block on them, one group after the other.

    The rows are sorted by the length of their history and split into groups of equal size. Each
    group is cut to its longest history, because most of a batch is padding otherwise.

    Args:
      encoder: encodes histories and candidates.
      block: the model's `SequenceBlock`.
      inputs: transformed features of the batch.
      rows: indices of the rows `(N,)`.
      candidates: ids `(N, K)`, in the order of `rows`.
      groups: number of groups.
      training: passed to the block.
      seed: two integers, or None. Each group gets another seed made from them.
      distinct: the items, if those of inputs and candidates are indices into them.
    """
    length = tf.gather(tf.reshape(inputs[features.HISTORY_LENGTH], [-1]), rows)
    order = tf.argsort(length, stable=True)
    rows, length = tf.gather(rows, order), tf.gather(length, order)
    candidates = tf.gather(candidates, order)
    targets = encoder.candidates(candidates, distinct)
    histories = features.of_each_event(inputs)
    count, users, loss = tf.size(order), [], tf.zeros([], targets.dtype)
    for group in range(groups):
        part = slice(count * group // groups, count * (group + 1) // groups)
        longest = tf.maximum(tf.reduce_max(length[part]), 0)
        cut = {
            name: tf.gather(values[:, :longest], rows[part]) for name, values in histories.items()
        }
        history, mask = encoder(
            cut[features.HISTORY_ITEM],
            length[part],
            cut.get(features.HISTORY_ELAPSED),
            distinct,
            cut,
        )
        more = attribute_match.arguments(
            block, encoder, cut[features.HISTORY_ITEM], mask, candidates[part], distinct
        )
        user = block(
            history, mask, targets[part], training=training, seed=fold_in(seed, group), **more
        )
        if isinstance(user, BlockOutput):
            user, mean_loss = user
            loss += mean_loss * tf.cast(tf.size(length[part]), loss.dtype)
        users.append(user)
    user = tf.concat(users, axis=0)
    shape = tf.concat([tf.shape(targets)[:2], [user.shape[-1]]], axis=0)
    return GroupedOutput(rows, tf.broadcast_to(user, shape), targets, loss)


def fold_in(seed: tf.Tensor | None, number: int) -> tf.Tensor | None:
    """Another seed for each number; None stays None."""
    return None if seed is None else tf.random.experimental.stateless_fold_in(seed, number)
