"""The attention weights of raw Examples, by the signature `explain` of an export."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from transforms import features

_BATCH = 64  # the answer has a weight for each event and pass
_TARGET = {
    features.TARGET_ITEM: tf.io.FixedLenFeature([], tf.string),
    features.TARGET_TIME: tf.io.FixedLenFeature([], tf.int64),
    features.HISTORY_LENGTH: tf.io.FixedLenFeature([], tf.int64),
}


class Explained(NamedTuple):
    """Histories and their attention weights, for one target a row.

    Attributes:
      items: ids `(N, L)`, oldest first, b"" is padding on the right.
      times: of the events in seconds `(N, L)`.
      length: events of each history `(N,)`.
      target: ids `(N,)`.
      target_time: in seconds `(N,)`.
      weights: `(N, P, L)` of P passes over the history, 0 for padding; P is 0 for a model that
        has no attention weights.
    """

    items: np.ndarray
    times: np.ndarray
    length: np.ndarray
    target: np.ndarray
    target_time: np.ndarray
    weights: np.ndarray


def explain(model: Any, records: Sequence[bytes]) -> Explained:
    """Parses N serialized raw Examples of one length L, and asks for their attention weights.

    Args:
      model: a loaded SavedModel; it must stay in scope while its signatures are used.
      records: at least one.
    """
    signature = model.signatures.get("explain") if hasattr(model.signatures, "get") else None
    names = list(signature.structured_input_signature[1]) if signature else []
    of_events = [name for name in names if features.of_events([name])]

    def sequence(dtype: tf.DType) -> tf.io.FixedLenSequenceFeature:
        return tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)

    spec: dict[str, Any] = {
        features.HISTORY_ITEM: sequence(tf.string),
        features.HISTORY_TIME: sequence(tf.int64),
        **{name: sequence(tf.string) for name in of_events},
        **_TARGET,
    }
    row = tf.io.parse_example(list(records), spec)
    request = {
        **{name: row[name] for name in (features.HISTORY_ITEM, features.HISTORY_TIME, *of_events)},
        features.HISTORY_LENGTH: row[features.HISTORY_LENGTH],
        "request_time": row[features.TARGET_TIME],
        "candidates": row[features.TARGET_ITEM][:, None],
    }
    width = row[features.HISTORY_ITEM].shape[1]
    weights = np.zeros((len(records), 0, width), np.float32)
    if signature:
        weights = np.concatenate(
            [
                signature(**{name: of[start : start + _BATCH] for name, of in request.items()})[
                    "attention"
                ].numpy()[:, :, 0]
                for start in range(0, len(records), _BATCH)
            ]
        )
    return Explained(
        row[features.HISTORY_ITEM].numpy(),
        row[features.HISTORY_TIME].numpy(),
        row[features.HISTORY_LENGTH].numpy(),
        row[features.TARGET_ITEM].numpy(),
        row[features.TARGET_TIME].numpy(),
        weights,
    )
