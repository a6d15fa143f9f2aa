"""Hand-made raw Examples, and a SavedModel that scores them by a feature of theirs."""

import tensorflow as tf

from transforms import features

L = 3
SCALE = 1000.0
OTHER_SCORE = "other_score"


def example(user, label, score=0, other_score=0, **raw):
    """A serialized raw Example: thousandths of one model's score are `target_time`, of
    another's `other_score`, unless named features say otherwise."""
    values = {
        features.USER_ID: user,
        features.HISTORY_ITEM: [b""] * L,
        features.HISTORY_TIME: [0] * L,
        features.HISTORY_LENGTH: 0,
        OTHER_SCORE: other_score,
        features.TARGET_ITEM: b"item",
        features.TARGET_TIME: score,
        features.LABEL: label,
        features.HISTORY_BUCKET: b"short",
        features.TARGET_BUCKET: b"0",
    } | raw
    result = tf.train.Example()
    for name, value in values.items():
        value = value if isinstance(value, list) else [value]
        feature = result.features.feature[name]
        kind = feature.bytes_list if isinstance(value[0], bytes) else feature.int64_list
        kind.value.extend(value)
    return result.SerializeToString()


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for row in rows:
            writer.write(row)
    return str(path)


class Model(tf.Module):
    """Scores an Example by one of its int64 features, in thousandths."""

    def __init__(self, feature):
        super().__init__()
        self.feature = feature
        self.scale = tf.Variable(SCALE)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def score(self, examples):
        parsed = tf.io.parse_example(examples, {self.feature: tf.io.FixedLenFeature([], tf.int64)})
        return {"score": tf.cast(parsed[self.feature], tf.float32) / self.scale}


def save_model(path, feature=features.TARGET_TIME):
    model = Model(feature)
    tf.saved_model.save(model, str(path), signatures={"serving_default": model.score})
    return str(path)
