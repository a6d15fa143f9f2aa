"""Transformed samples as `tf.data`; seed and epoch alone decide the order of training batches."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from transforms import features

_COMPRESSION = "GZIP"
_READ_BYTES = 1 << 24
# Bounds the memory of the shuffle buffer: it holds fewer samples of longer histories.
_BUFFER_EVENTS = 10_000_000
_OPEN_FILES = 8
# Not tf.data.AUTOTUNE, because the tuner is off: see `_parsed`.
_PARALLEL_CALLS = os.cpu_count() or 1


class Share(NamedTuple):
    """What a worker reads of each batch: some of its parts, which have equal sizes if they can.

    Attributes:
      parts: number of parts, one for each replica.
      first: the first part to read, from 0.
      end: the first part after those.
    """

    parts: int = 1
    first: int = 0
    end: int = 1


ALL = Share()


def files_of(patterns: Sequence[str], split: str) -> list[str]:
    """The files of a split, sorted by name.

    Raises:
      ValueError: if no file matches `patterns`.
    """
    files = sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))
    if not files:
        raise ValueError(f"The {split} split has no files. Looked for: {list(patterns)}.")
    return files


def count(files: Sequence[str], split: str, items: int) -> tuple[int, np.ndarray]:
    """The number of samples in the files, and of positive samples by target.

    Args:
      files: TFRecords of transformed samples.
      split: its name, for messages.
      items: number of item ids; targets that only a catalogue knows are not counted.

    Returns:
      the number of samples, and int64 `(items,)`.

    Raises:
      ValueError: if there is no sample.
    """
    records = tf.data.TFRecordDataset(list(files), _COMPRESSION, num_parallel_reads=_PARALLEL_CALLS)
    spec = {
        name: tf.io.FixedLenFeature([1], tf.int64)
        for name in (features.TARGET_ITEM, features.LABEL)
    }
    total, positives = 0, np.zeros(items, np.int64)
    for rows in _parsed(records.batch(1024), spec).as_numpy_iterator():
        total += len(rows[features.LABEL])
        targets = rows[features.TARGET_ITEM][rows[features.LABEL] == 1]
        np.add.at(positives, targets[targets < items], 1)
    if not total:
        raise _empty(files, split)
    return total, positives


def require_sample(files: Sequence[str], split: str) -> None:
    """Reads until the first sample.

    Raises:
      ValueError: if there is none.
    """
    for _ in tf.data.TFRecordDataset(list(files), _COMPRESSION).take(1):
        return
    raise _empty(files, split)


def _empty(files: Sequence[str], split: str) -> ValueError:
    return ValueError(f"The {split} split is empty: no sample in {len(files)} files.")


def digest(files: Sequence[str], relative_to: str = "") -> str:
    """SHA-256 of the files' names and contents.

    Args:
      files: paths, in the order in which they are hashed.
      relative_to: folder from which names are counted; "" takes the last part of each path.
        So files that were moved to another folder have the same digest.
    """
    sha = hashlib.sha256()
    for file in files:
        name = os.path.relpath(file, relative_to) if relative_to else os.path.basename(file)
        sha.update(name.encode() + b"\0")
        with tf.io.gfile.GFile(file, "rb") as content:
            while block := content.read(_READ_BYTES):
                sha.update(block)
    return sha.hexdigest()


def tree_digest(root: str) -> str:
    """SHA-256 of all files below a folder, of their names and contents."""
    files = [
        os.path.join(folder, name) for folder, _, names in tf.io.gfile.walk(root) for name in names
    ]
    return digest(sorted(files), root)


def training_batches(
    files: Sequence[str],
    spec: dict[str, Any],
    batch_size: int,
    seed: int,
    epoch: int,
    skip: int = 0,
    share: Share = ALL,
) -> tf.data.Dataset:
    """One epoch of shuffled batches; the last one may be smaller.

    All workers read all records, in the same order, because a batch must hold the same rows for any
    number of workers. They parse only their own.

    Args:
      files: TFRecords of transformed samples.
      spec: features to parse, as `TFTransformOutput.transformed_feature_spec()`.
      batch_size: B.
      seed: seed of the training.
      epoch: number of the epoch, from 0; each epoch has another order.
      skip: number of batches to skip at the start of the epoch, for a resumed training. They
        are read, but not parsed.
      share: the parts of each batch that this worker gets, one after the other.
    """
    rng = np.random.default_rng([seed, epoch])
    order = [str(file) for file in rng.permutation(np.asarray(files, object))]
    open_files = min(len(order), _OPEN_FILES)
    records = tf.data.Dataset.from_tensor_slices(order).interleave(
        lambda file: tf.data.TFRecordDataset(file, _COMPRESSION),
        cycle_length=open_files,
        block_length=64,
        num_parallel_calls=min(open_files, _PARALLEL_CALLS),
        deterministic=True,
    )
    width = max([shape.num_elements() or 1 for shape in _shapes(spec)])
    buffer = max(_BUFFER_EVENTS // width, batch_size)
    records = records.shuffle(buffer, seed=int(rng.integers(2**31)))
    return _parsed(_parts(records.batch(batch_size).skip(skip), share), spec)


def evaluation_batches(
    files: Sequence[str], spec: dict[str, Any], batch_size: int, share: Share = ALL
) -> tf.data.Dataset:
    """All samples once, in the order of the files, `batch_size` at a time, or a share of them."""
    records = tf.data.TFRecordDataset(list(files), _COMPRESSION)
    return _parsed(_parts(records.batch(batch_size), share), spec)


def _parts(batches: tf.data.Dataset, share: Share) -> tf.data.Dataset:
    """The parts of a share, of each batch of serialized samples. The first part is never empty."""
    if share == ALL:
        return batches

    def of_batch(rows: tf.Tensor) -> tf.data.Dataset:
        count = tf.size(rows, tf.int64)

        def part(index: tf.Tensor) -> tf.Tensor:
            begin, end = (-(-count * number // share.parts) for number in (index, index + 1))
            return rows[begin:end]

        return tf.data.Dataset.range(share.first, share.end).map(part)

    return batches.flat_map(of_batch)


def _shapes(spec: dict[str, Any]) -> list[tf.TensorShape]:
    return [tf.TensorShape(feature.shape) for feature in spec.values()]


def _parsed(serialized: tf.data.Dataset, spec: dict[str, Any]) -> tf.data.Dataset:
    options = tf.data.Options()
    # The number of parallel calls is fixed, so there is nothing to tune. With the tuner on, the
    # end of an epoch would wait for the tuner's thread, which sleeps for up to a minute.
    options.autotune.enabled = False
    parsed = serialized.map(
        lambda rows: tf.io.parse_example(rows, spec),
        num_parallel_calls=_PARALLEL_CALLS,
        deterministic=True,
    )
    return parsed.prefetch(2).with_options(options)
