"""Blocks of scored rows; their metrics are compared in test_ranking_metrics.py."""

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf

from pipeline.errors import InputError
from pipeline.evaluation.scored import files
from tests.support import scored_examples
from transforms import features

IN_MEMORY = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return scored_examples.save_model(tmp_path_factory.mktemp("model"))


def write(folder, rows, model):
    path = scored_examples.write(folder / "data.gz", rows)
    (folder / "blocks").mkdir()
    with beam.Pipeline(argv=IN_MEMORY) as pipeline:
        files.write(pipeline, [path], {"candidate": model}, str(folder / "blocks"), lambda _: None)
    (written,) = (folder / "blocks").iterdir()
    return [
        tf.train.Example.FromString(record)
        for record in tf.data.TFRecordDataset(str(written), "GZIP").as_numpy_iterator()
    ]


def test_a_block_has_the_rows_of_the_same_slices_in_their_order(tmp_path, model):
    buckets = [b"short", b"long", b"short", b"short"]
    rows = [
        scored_examples.example(b"u%d" % n, n % 2, n * 100, **{features.HISTORY_BUCKET: bucket})
        for n, bucket in enumerate(buckets)
    ]
    long, short = write(tmp_path, rows, model)
    feature = {name: of.bytes_list.value[0] for name, of in short.features.feature.items()}
    assert feature[features.HISTORY_BUCKET] == b"short"
    assert feature[features.TARGET_BUCKET] == b"0"
    hashes = [files.user_hash(user) for user in (b"u0", b"u2", b"u3")]
    assert np.frombuffer(feature[files.USERS], np.uint64).tolist() == hashes
    assert np.frombuffer(feature[files.LABELS], np.int8).tolist() == [0, 0, 1]
    scores = np.frombuffer(feature["candidate"], np.float32)
    np.testing.assert_allclose(scores, [0, 0.2, 0.3], rtol=1e-6)
    assert long.features.feature[features.HISTORY_BUCKET].bytes_list.value[0] == b"long"


def test_no_rows_are_no_blocks(tmp_path, model):
    assert write(tmp_path, [], model) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"user": [b"u", b"v"], "label": 1}, r"`user_id` must hold one .* \[b'u', b'v'\]"),
        ({"user": b"u", "label": 2}, r"`label` must be 0 or 1. Received: 2"),
    ],
)
def test_a_row_that_cannot_be_judged_is_named(tmp_path, model, row, message):
    rows = [scored_examples.example(b"u", 1), scored_examples.example(**row)]
    with pytest.raises(InputError, match=message):
        write(tmp_path, rows, model)
