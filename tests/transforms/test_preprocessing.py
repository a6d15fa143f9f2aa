"""Hand-made Examples through Transform's Beam job and through the serving layer."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

from pipeline.schema import filled_schema
from tests.support.raw_examples import DAY, example, raw_sample
from transforms import features, preprocessing

L = 4
OOV = 3
CONFIG = {"min_item_count": 1, "max_vocabulary_size": 100, "oov_buckets": OOV, "time_unit": DAY}
OUTPUTS = (
    features.HISTORY_ITEM,
    features.HISTORY_ELAPSED,
    features.HISTORY_LENGTH,
    features.TARGET_ITEM,
    features.LABEL,
    features.USER,
)


TRAIN = [
    raw_sample(L, [b"a", b"b", b"c"], b"d", days=[1000, 2, 0]),
    raw_sample(L, [b"a"], b"a", days=[1], label=0),
    raw_sample(L, [], b"b"),
    raw_sample(L, [b"a", b"b", b"a", b"c"], b"e", days=[9, 8, 7, 3]),
]
UNSEEN = [
    raw_sample(L, [b"zz", b"a"], b"yy", days=[5, 4]),
    raw_sample(L, [b"e", b"d", b"c", b"never"], b"b", days=[5, 4, 3, -2]),
]


def analyse(folder, config=CONFIG):
    """What Transform's Beam job makes of TRAIN and UNSEEN, and the graph it leaves."""
    metadata = dataset_metadata.DatasetMetadata(filled_schema(L))
    with tft_beam.Context(temp_dir=str(folder / "temporary")):
        transform_fn = (TRAIN, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing.preprocessing_fn(inputs, config)
        )
        _ = transform_fn | tft_beam.WriteTransformFn(str(folder))
        rows, _ = ((TRAIN + UNSEEN, metadata), transform_fn) | tft_beam.TransformDataset()
    transform = tft.TFTransformOutput(str(folder))
    metadata_io.write_metadata(metadata, str(folder / transform.RAW_METADATA_DIR))
    return rows, transform


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    return analyse(tmp_path_factory.mktemp("transform"))


def ids(analysed, row, name=features.HISTORY_ITEM):
    return np.asarray(analysed[0][row][name]).reshape(-1)


def test_training_and_serving_give_the_same_features(analysed):
    rows, transform = analysed
    layer = transform.transform_features_layer()
    spec = transform.raw_feature_spec()
    served = layer(tf.io.parse_example([example(row) for row in TRAIN + UNSEEN], spec))
    assert set(served) == set(OUTPUTS)
    for name in OUTPUTS:
        trained = np.asarray([np.asarray(row[name]).reshape(-1) for row in rows])
        np.testing.assert_array_equal(served[name].numpy(), trained, err_msg=name)


def test_serving_needs_no_label(analysed):
    _, transform = analysed
    spec = transform.raw_feature_spec()
    del spec[features.LABEL]
    served = transform.transform_features_layer()(
        tf.io.parse_example([example(row) for row in UNSEEN], spec)
    )
    np.testing.assert_array_equal(served[features.HISTORY_ITEM][1], ids(analysed, 5))


def test_ids_are_padding_then_unknown_then_the_vocabulary(analysed):
    _, transform = analysed
    known = 5  # a to e
    assert transform.vocabulary_size_by_name(features.ITEM_VOCABULARY) == known
    assert list(ids(analysed, 2)) == [0] * L
    first = ids(analysed, 3)
    assert first[0] == first[2] == OOV + 1  # "a", the most frequent
    assert set(first) <= set(range(OOV + 1, OOV + 1 + known))
    unknown = ids(analysed, 4)
    assert 1 <= unknown[0] <= OOV
    assert unknown[1] == first[0]
    assert list(unknown[2:]) == [0, 0]


def test_history_and_target_share_one_vocabulary(analysed):
    target = ids(analysed, 0, features.TARGET_ITEM)[0]  # "d", only ever a target in training
    assert ids(analysed, 5)[1] == target
    assert ids(analysed, 5, features.TARGET_ITEM)[0] == ids(analysed, 0)[1]  # "b"


def test_elapsed_time_falls_into_exponential_buckets(analysed):
    # 1000 days are in [2^9, 2^10), 2 in [2, 4), 0 in [0, 1); one place is padding.
    assert list(ids(analysed, 0, features.HISTORY_ELAPSED)) == [10, 2, 0, 0]
    assert list(ids(analysed, 3, features.HISTORY_ELAPSED)) == [4, 4, 3, 2]
    # An event after the request happens with it.
    assert list(ids(analysed, 5, features.HISTORY_ELAPSED)) == [3, 3, 2, 0]


def test_a_vocabulary_can_leave_out_what_is_rare(tmp_path):
    """By the events of the items, whatever the number of samples that hold them."""
    frequent = tmp_path / "frequent.npy"
    np.save(frequent, np.sort(preprocessing.item_hashes([b"c", b"a", b"never"]).numpy()))
    config = CONFIG | {"min_item_count": 3, "frequent_items": str(frequent)}
    rows, transform = analyse(tmp_path, config)
    assert transform.vocabulary_by_name(features.ITEM_VOCABULARY) == [b"a", b"c"]
    history = np.asarray(rows[0][features.HISTORY_ITEM]).reshape(-1)  # a, b, c
    assert history[0] == 1 + OOV
    assert 1 <= history[1] <= OOV
    assert history[2] == 2 + OOV


@pytest.mark.parametrize("unit", [1, DAY])
def test_buckets_follow_the_paper_over_the_whole_range(unit):
    rng = np.random.default_rng(0)
    units = np.concatenate([np.arange(70), 2 ** rng.integers(0, 29, 50), [2**29 - 1, 2**30]])
    expected = [0 if n == 0 else int(n).bit_length() for n in units]
    now = 2**48
    got = preprocessing.elapsed_buckets(
        tf.constant(now - units[None] * unit, tf.int64), tf.constant([[now]], tf.int64), unit
    )
    assert list(got.numpy()[0]) == expected


def test_absurd_times_give_a_bucket_like_any_other():
    times = tf.constant([[-(2**63), -1, 0, 2**63 - 1]], tf.int64)
    for request in (-(2**63), 0, 2**63 - 1):
        got = preprocessing.elapsed_buckets(times, tf.constant([[request]], tf.int64), DAY).numpy()
        assert ((got >= 0) & (got < features.NUM_TIME_BUCKETS)).all()
