"""Raw Examples made by hand, for the tests of several parts."""

import tensorflow as tf

from transforms import features

NOW = 1_400_000_000
DAY = 86_400


def raw_sample(width, history, target, days=None, label=1):
    """Raw features at L = `width`; `days` are counted back from the request."""
    days = range(len(history), 0, -1) if days is None else days
    padding = width - len(history)
    return {
        features.USER_ID: [b"u"],
        features.HISTORY_ITEM: [*history, *[b""] * padding],
        features.HISTORY_TIME: [*(NOW - day * DAY for day in days), *[0] * padding],
        features.HISTORY_LENGTH: [len(history)],
        features.TARGET_ITEM: [target],
        features.TARGET_TIME: [NOW],
        features.LABEL: [label],
        features.HISTORY_BUCKET: [b"short"],
        features.TARGET_BUCKET: [b"0"],
    }


def example(values):
    """A serialized tf.Example of a dict of lists."""
    proto = tf.train.Example()
    for name, of in values.items():
        feature = proto.features.feature[name]
        (feature.bytes_list if isinstance(of[0], bytes) else feature.int64_list).value.extend(
            value if isinstance(value, bytes) else int(value) for value in of
        )
    return proto.SerializeToString()


def write(path, rows):
    """A gzip TFRecord file of Examples."""
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for row in rows:
            writer.write(example(row))
