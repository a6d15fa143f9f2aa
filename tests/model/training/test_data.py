"""Samples from disk: each one once an epoch, in an order that depends on seed and epoch only."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from model.training import data
from tests.support import raw_examples
from transforms import features

SPEC = {"n": tf.io.FixedLenFeature([1], tf.int64)}
ROWS = 50


@pytest.fixture(name="files")
def fixture_files(tmp_path):
    """Three gzip files with the numbers below `ROWS`."""
    return write(tmp_path, [range(shard, ROWS, 3) for shard in range(3)])


def write(folder, shards):
    """One gzip file for each list of numbers; returns the files' names."""
    names = [str(folder / f"part-{shard}.gz") for shard in range(len(shards))]
    for name, numbers in zip(names, shards, strict=True):
        with tf.io.TFRecordWriter(name, "GZIP") as writer:
            for n in numbers:
                value = tf.train.Feature(int64_list=tf.train.Int64List(value=[n]))
                example = tf.train.Example(features=tf.train.Features(feature={"n": value}))
                writer.write(example.SerializeToString())
    return names


def read(dataset):
    return [batch["n"].numpy().ravel().tolist() for batch in dataset]


def test_an_epoch_has_each_sample_once_and_another_order_than_the_next(files):
    first, again, next_epoch, other_seed = (
        read(data.training_batches(files, SPEC, 8, seed, epoch))
        for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))
    )
    assert sorted(np.concatenate(first)) == list(range(ROWS))
    assert [len(batch) for batch in first] == [8] * 6 + [2]
    assert first == again
    assert first != next_epoch
    assert first != other_seed


def test_a_resumed_epoch_continues_after_the_skipped_batches(files):
    whole = read(data.training_batches(files, SPEC, 8, 1, 3))
    assert read(data.training_batches(files, SPEC, 8, 1, 3, skip=4)) == whole[4:]


@pytest.mark.parametrize("replicas_here", [1, 2])
def test_the_parts_of_all_workers_are_the_batches_of_one(files, replicas_here):
    """Parts of the last batch, which has 2 rows, are empty for some replicas."""
    whole = read(data.training_batches(files, SPEC, 8, 1, 3))
    parts = 3 * replicas_here
    of_workers = [
        read(data.training_batches(files, SPEC, 8, 1, 3, 0, data.Share(parts, first, first + 1)))
        for first in range(parts)
    ]
    joined = [list(itertools.chain(*of_batch)) for of_batch in zip(*of_workers, strict=True)]
    assert joined == whole
    sizes = [len(of_worker[-1]) for of_worker in of_workers]
    assert sizes[0] == max(sizes) == 1
    assert min(sizes) == 0
    # A worker with several replicas reads their parts one after the other.
    together = data.Share(parts, 0, replicas_here)
    got = read(data.training_batches(files, SPEC, 8, 1, 3, 0, together))
    assert got == [part for step in zip(*of_workers[:replicas_here], strict=True) for part in step]
    evaluated = [
        np.concatenate(read(data.evaluation_batches(files, SPEC, 16, data.Share(2, n, n + 1))))
        for n in range(2)
    ]
    assert sorted(np.concatenate(evaluated)) == list(range(ROWS))


def test_evaluation_keeps_the_order_of_the_files(files):
    expected = [n for shard in range(3) for n in range(shard, ROWS, 3)]
    assert np.concatenate(read(data.evaluation_batches(files, SPEC, 16))).tolist() == expected


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_the_number_of_parallel_calls_changes_no_batch(tmp_path, monkeypatch, threads):
    """More files than are open at once, with more and fewer rows than a block of 64."""
    sizes = [1, 200, 63, 64, 65, 0, 130, 7, 90, 64, 3, 128]
    starts = np.cumsum([0, *sizes])
    files = write(tmp_path, [range(*pair) for pair in itertools.pairwise(starts)])
    expected = read(data.training_batches(files, SPEC, 32, 5, 2))
    monkeypatch.setattr(data, "_PARALLEL_CALLS", threads)
    assert read(data.training_batches(files, SPEC, 32, 5, 2)) == expected


def test_count_gives_the_samples_and_the_positives_of_each_target(tmp_path):
    files = [str(tmp_path / f"{number}.gz") for number in range(2)]
    targets = [[(3, 1), (3, 0), (1, 1)], [(3, 1), (9, 1)]]  # 9: an item of the catalogue alone
    for file, rows in zip(files, targets, strict=True):
        raw_examples.write(
            file,
            [{features.TARGET_ITEM: [target], features.LABEL: [label]} for target, label in rows],
        )
    samples, positives = data.count(files, "train", 5)
    assert samples == 5
    assert positives.tolist() == [0, 1, 0, 2, 0]
    raw_examples.write(files[0], [])
    with pytest.raises(ValueError, match="The train split is empty"):
        data.count(files[:1], "train", 5)


def test_an_epoch_does_not_wait_for_the_tuner_of_tf_data(files):
    for dataset in (
        data.training_batches(files, SPEC, 8, 0, 0),
        data.evaluation_batches(files, SPEC, 8),
    ):
        assert dataset.options().autotune.enabled is False


def test_the_message_for_a_split_without_files_names_the_split(tmp_path):
    with pytest.raises(ValueError, match="The eval split has no files"):
        data.files_of([str(tmp_path / "nothing-*")], "eval")
