"""Attention and extreme users of the test rows that a model scored, ready for JSON."""

from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.evaluation import loaded
from pipeline.evaluation.diagnostics.attention import attention
from pipeline.evaluation.diagnostics.explained import explain
from pipeline.evaluation.diagnostics.users import Choice, users
from transforms import features

_ATTENTION_ROWS = 512
_IDS = {
    features.USER_ID: tf.io.FixedLenFeature([], tf.string),
    features.TARGET_ITEM: tf.io.FixedLenFeature([], tf.string),
}


def diagnose(model_dir: str, rows: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the sample of scored rows shows.

    Args:
      model_dir: the SavedModel that scored them.
      rows: columns of N rows: "user" (hashes), "label", "score", and "record", the serialized
        raw Examples.

    Returns:
      `rows`: N. `attention`: `attention.attention` of at most 512 positive rows, those of the
      users with the smallest hashes. `users`: `users.users`. The last two are None without
      rows, or if a score is not finite.
    """
    if not len(rows["user"]) or not np.isfinite(rows["score"]).all():
        return {"rows": len(rows["user"]), "attention": None, "users": None}
    model = loaded.model(model_dir)
    positive = np.flatnonzero(rows["label"] == 1)
    positive = positive[np.argsort(rows["user"][positive], kind="stable")][:_ATTENTION_ROWS]
    choice = Choice(rows["user"], rows["score"], rows["label"])
    asked = [*choice.shown, *positive]
    if not asked:
        return {"rows": len(rows["user"]), "attention": None, "users": None}
    explained = explain(model, [rows["record"][row] for row in asked])
    own, others = (
        type(explained)(*(column[part] for column in explained))
        for part in (slice(len(choice.shown)), slice(len(choice.shown), None))
    )
    ids = tf.io.parse_example(list(rows["record"]), _IDS)
    users_of = ids[features.USER_ID].numpy()
    named = {**rows, "target": ids[features.TARGET_ITEM].numpy()}
    return {
        "rows": len(rows["user"]),
        "attention": attention(others),
        "users": users(choice, [users_of[row] for row in choice.shown], own, named),
    }
