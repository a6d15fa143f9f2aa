"""Transformed samples from disk, in an order that only seed and epoch decide."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_COMPRESSION = "GZIP"
_READ_BYTES = 1 << 24
# The shuffle buffer is bounded by events, so that long histories fit as well.
_BUFFER_EVENTS = 10_000_000


def files_of(patterns: Sequence[str], split: str) -> list[str]:
    """The files of a split, sorted by name.

    Raises:
      ValueError: where there are none.
    """
    files = sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))
    if not files:
        raise ValueError(f"The {split} split has no files. Looked for: {list(patterns)}.")
    return files


def count(files: Sequence[str], split: str) -> int:
    """How many samples the files hold.

    Raises:
      ValueError: for none at all.
    """
    records = tf.data.TFRecordDataset(list(files), _COMPRESSION, num_parallel_reads=2)
    total = int(
        records.batch(1024).reduce(np.int64(0), lambda n, rows: n + tf.size(rows, np.int64))
    )
    if not total:
        raise ValueError(f"The {split} split is empty: no sample in {len(files)} files.")
    return total


def digest(files: Sequence[str], relative_to: str = "") -> str:
    """SHA-256 of names and contents; folders above the files, or above a root, do not matter."""
    sha = hashlib.sha256()
    for file in files:
        name = os.path.relpath(file, relative_to) if relative_to else os.path.basename(file)
        sha.update(name.encode() + b"\0")
        with tf.io.gfile.GFile(file, "rb") as content:
            while block := content.read(_READ_BYTES):
                sha.update(block)
    return sha.hexdigest()


def tree_digest(root: str) -> str:
    """SHA-256 of all files below a folder."""
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
) -> tf.data.Dataset:
    """One epoch of shuffled batches; the last one may be smaller.

    Args:
      files: TFRecords of transformed samples.
      spec: features to parse, as `TFTransformOutput.transformed_feature_spec()`.
      batch_size: B.
      seed: of the training.
      epoch: from 0; each has an order of its own.
      skip: batches to pass over, read but not parsed: where a resumed epoch goes on.
    """
    rng = np.random.default_rng([seed, epoch])
    order = [str(file) for file in rng.permutation(np.asarray(files, object))]
    records = tf.data.Dataset.from_tensor_slices(order).interleave(
        lambda file: tf.data.TFRecordDataset(file, _COMPRESSION),
        cycle_length=min(len(order), 8),
        block_length=64,
    )
    width = max([shape.num_elements() or 1 for shape in _shapes(spec)])
    buffer = max(_BUFFER_EVENTS // width, batch_size)
    records = records.shuffle(buffer, seed=int(rng.integers(2**31)))
    return _parsed(records.batch(batch_size).skip(skip), spec)


def evaluation_batches(
    files: Sequence[str], spec: dict[str, Any], batch_size: int
) -> tf.data.Dataset:
    """All samples once, in the order of the files."""
    return _parsed(tf.data.TFRecordDataset(list(files), _COMPRESSION).batch(batch_size), spec)


def _shapes(spec: dict[str, Any]) -> list[tf.TensorShape]:
    return [tf.TensorShape(feature.shape) for feature in spec.values()]


def _parsed(serialized: tf.data.Dataset, spec: dict[str, Any]) -> tf.data.Dataset:
    options = tf.data.Options()
    # Nothing is left to be tuned, and the end of an epoch would wait for the tuner, which may
    # sleep up to a minute and is not woken.
    options.autotune.enabled = False
    parsed = serialized.map(
        lambda rows: tf.io.parse_example(rows, spec), num_parallel_calls=2, deterministic=True
    )
    return parsed.prefetch(2).with_options(options)
