"""Shuffled-history control: scores each row with another user's history."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.evaluation import loaded
from transforms import features

_BATCH = 512


def histories(user: np.ndarray, time: np.ndarray, records: Sequence[bytes]) -> list[bytes]:
    """Replaces each Example's history by the one in another user's last row.

    Each user gets the history of the next user in the order of hashes; the last gets the
    first's. Event times are shifted with the target's time, so that elapsed times stay the
    same. All rows of a user get the same history, as positives and negatives do.

    Args:
      user: hashes `(N,)`.
      time: times of the targets `(N,)`, in seconds.
      records: serialized raw Examples, N of them.

    Returns:
      N serialized Examples. If there is one user only, all rows get that user's last history.
    """
    if not len(user):
        return []
    order = np.lexsort((time, user))
    last = order[np.flatnonzero(np.append(user[order][1:] != user[order][:-1], True))]
    users, user_index = np.unique(user, return_inverse=True)
    donors = last[(user_index + 1) % len(users)]
    parsed = {int(row): tf.train.Example.FromString(records[row]) for row in last}
    result = []
    for row, donor in enumerate(donors):
        example, other = tf.train.Example.FromString(records[row]), parsed[int(donor)]
        names = (features.HISTORY_ITEM, features.HISTORY_LENGTH, features.HISTORY_TIME)
        for name in (*names, *features.of_events(other.features.feature)):
            example.features.feature[name].CopyFrom(other.features.feature[name])
        times = example.features.feature[features.HISTORY_TIME].int64_list.value
        shift = int(time[row] - time[donor])
        for j in range(other.features.feature[features.HISTORY_LENGTH].int64_list.value[0]):
            times[j] += shift
        result.append(example.SerializeToString())
    return result


def scores(model: Any, records: Sequence[bytes]) -> np.ndarray:
    """Scores `(N,)` of serialized raw Examples by a loaded SavedModel's `serving_default`."""
    score = loaded.scores_of(model)
    batches = [
        score(tf.constant(list(records[start : start + _BATCH]))).numpy()
        for start in range(0, len(records), _BATCH)
    ]
    return np.concatenate([np.zeros(0, np.float32), *batches])
