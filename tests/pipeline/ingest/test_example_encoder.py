"""Joined bytes against the C++ encoder of tfx_bsl."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from tfx_bsl.coders import example_coder

from pipeline.ingest import example_encoder
from transforms import features

L = 5
USERS = [b"U1", b"somebody with a long name " * 12]
ITEMS = [b"I%d" % n if n != 3 else b"J" * 300 for n in range(9)]
TIME = np.array([1 << 28, 788_918_400, *range(1_300_000_000, 1_300_000_007)], np.int64)
BEGIN, END, TARGET = np.array([0, 1, 3, 2]), np.array([0, 4, 8, 6]), np.array([0, 5, 8, 7])
USER, BUCKET = np.array([0, 0, 1, 1]), np.array([0, 1, 2, 1])


def by_tfx_bsl(targets, target_buckets, label):
    def pad(values, padding):
        return [list(v) + [padding] * (L - len(v)) for v in values]

    spans = [slice(b, e) for b, e in zip(BEGIN, END, strict=True)]
    columns = {
        features.USER_ID: pa.array([[USERS[u]] for u in USER]),
        features.HISTORY_ITEM: pa.array(pad([ITEMS[s] for s in spans], b"")),
        features.HISTORY_TIME: pa.array(pad([TIME[s].tolist() for s in spans], 0)),
        features.HISTORY_LENGTH: pa.array([[int(n)] for n in END - BEGIN]),
        features.TARGET_ITEM: pa.array([[item] for item in targets]),
        features.TARGET_TIME: pa.array([[int(TIME[t])] for t in TARGET]),
        features.LABEL: pa.array([[label]] * 4),
        features.HISTORY_BUCKET: pa.array([[features.HISTORY_BUCKETS[b].encode()] for b in BUCKET]),
        features.TARGET_BUCKET: pa.array(
            [[features.TARGET_BUCKETS[b].encode()] for b in target_buckets]
        ),
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    return [
        tf.train.Example.FromString(record)
        for record in example_coder.RecordBatchToExamplesEncoder().encode(batch)
    ]


@pytest.mark.parametrize("label", [0, 1])
def test_examples_parse_to_those_of_the_encoder(label):
    targets, buckets = [b"x", b"y" * 200, b"z" * 20_000, b"w"], [0, 4, 2, 3]
    encoder = example_encoder.Encoder(pa.array(USERS), pa.array(ITEMS), TIME, L)
    histories = encoder.histories(USER, BEGIN, END, TARGET, BUCKET)
    ours = [
        tf.train.Example.FromString(record)
        for record in example_encoder.examples(
            histories, example_encoder.targets(pa.array(targets), np.array(buckets), label)
        )
    ]
    assert ours == by_tfx_bsl(targets, buckets, label)


def test_what_would_look_like_padding_is_refused():
    with pytest.raises(ValueError, match="empty item"):
        example_encoder.Encoder(pa.array(USERS), pa.array([b""]), TIME[:1], L)
    with pytest.raises(ValueError, match="invalid time"):
        example_encoder.Encoder(pa.array(USERS), pa.array([b"I"]), np.zeros(1, np.int64), L)
    encoder = example_encoder.Encoder(pa.array(USERS), pa.array(ITEMS), TIME, L)
    with pytest.raises(ValueError, match="0 to"):
        encoder.histories(USER[:1], BEGIN[:1], END[2:3], TARGET[:1], BUCKET[:1])
