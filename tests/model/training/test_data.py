"""Samples from disk: every one once an epoch, in an order that seed and epoch decide."""

import numpy as np
import pytest
import tensorflow as tf

from model.training import data

SPEC = {"n": tf.io.FixedLenFeature([1], tf.int64)}
ROWS = 50


@pytest.fixture(name="files")
def fixture_files(tmp_path):
    """Three gzip files that hold the numbers below `ROWS`."""
    names = [str(tmp_path / f"part-{place}.gz") for place in range(3)]
    for place, name in enumerate(names):
        with tf.io.TFRecordWriter(name, "GZIP") as writer:
            for n in range(place, ROWS, 3):
                value = tf.train.Feature(int64_list=tf.train.Int64List(value=[n]))
                example = tf.train.Example(features=tf.train.Features(feature={"n": value}))
                writer.write(example.SerializeToString())
    return names


def read(dataset):
    return [batch["n"].numpy().ravel().tolist() for batch in dataset]


def test_an_epoch_has_every_sample_once_in_an_order_of_its_own(files):
    first, again, next_epoch, other_seed = (
        read(data.training_batches(files, SPEC, 8, seed, epoch))
        for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))
    )
    assert sorted(np.concatenate(first)) == list(range(ROWS))
    assert [len(batch) for batch in first] == [8] * 6 + [2]
    assert first == again
    assert first != next_epoch
    assert first != other_seed


def test_a_resumed_epoch_goes_on_where_it_was(files):
    whole = read(data.training_batches(files, SPEC, 8, 1, 3))
    assert read(data.training_batches(files, SPEC, 8, 1, 3, skip=4)) == whole[4:]


def test_evaluation_keeps_the_order_of_the_files(files):
    expected = [n for place in range(3) for n in range(place, ROWS, 3)]
    assert np.concatenate(read(data.evaluation_batches(files, SPEC, 16))).tolist() == expected


def test_nothing_waits_for_the_tuner(files):
    for dataset in (
        data.training_batches(files, SPEC, 8, 0, 0),
        data.evaluation_batches(files, SPEC, 8),
    ):
        assert dataset.options().autotune.enabled is False


def test_an_empty_split_says_which(tmp_path):
    with pytest.raises(ValueError, match="The eval split has no files"):
        data.files_of([str(tmp_path / "nothing-*")], "eval")
