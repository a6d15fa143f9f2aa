"""Histories exchanged between users: what a model makes of the wrong person's past."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from transforms import features

_BATCH = 512


def histories(user: np.ndarray, time: np.ndarray, records: Sequence[bytes]) -> list[bytes]:
    """Examples with the history of another user's last row in place of their own.

    Users pass their histories on in a ring, in the order of their hashes. Times
    move with the target's, so that how long ago things happened stays as it
    was; rows of one user share one history, as positives and negatives do.

    Args:
      user: hashes `(N,)`.
      time: times of the targets `(N,)`, in seconds.
      records: serialized raw Examples, N of them.

    Returns:
      N serialized Examples; a user who is alone keeps the last history for all rows.
    """
    if not len(user):
        return []
    order = np.lexsort((time, user))
    last = order[np.flatnonzero(np.append(user[order][1:] != user[order][:-1], True))]
    users, place = np.unique(user, return_inverse=True)
    donors = last[(place + 1) % len(users)]
    parsed = {int(row): tf.train.Example.FromString(records[row]) for row in last}
    result = []
    for row, donor in enumerate(donors):
        example, other = tf.train.Example.FromString(records[row]), parsed[int(donor)]
        for name in (features.HISTORY_ITEM, features.HISTORY_LENGTH, features.HISTORY_TIME):
            example.features.feature[name].CopyFrom(other.features.feature[name])
        times = example.features.feature[features.HISTORY_TIME].int64_list.value
        shift = int(time[row] - time[donor])
        for j in range(other.features.feature[features.HISTORY_LENGTH].int64_list.value[0]):
            times[j] += shift
        result.append(example.SerializeToString())
    return result


def scores(model_dir: str, records: Sequence[bytes]) -> np.ndarray:
    """Scores `(N,)` that a SavedModel's `serving_default` gives to serialized raw Examples."""
    # Kept in a name of its own: the signature does not keep the model's variables alive.
    model = tf.saved_model.load(model_dir)
    signature = model.signatures["serving_default"]
    batches = [
        signature(examples=tf.constant(list(records[start : start + _BATCH])))["score"].numpy()
        for start in range(0, len(records), _BATCH)
    ]
    return np.concatenate([np.zeros(0, np.float32), *batches])
