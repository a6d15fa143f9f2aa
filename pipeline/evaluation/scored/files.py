"""Scores the test rows a file at a time, for TFMA.

TFMA's own extractors pass each row through Beam, as a dictionary for each of its slices. Here a
worker scores the rows of a whole file, and TFMA gets blocks: the rows of a file that lie in the
same slices, as arrays.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.extractors import extractor, slice_key_extractor
from tensorflow_model_analysis.proto import config_pb2

from pipeline.errors import InputError
from pipeline.evaluation import loaded
from pipeline.evaluation.eval_config import CANDIDATE
from pipeline.ingest import tfrecord_writer
from transforms import features

USERS, LABELS = "users", "labels"
_ROWS = 1024  # scored at once
_SLICES = (features.HISTORY_BUCKET, features.TARGET_BUCKET)
_SPEC = {
    features.USER_ID: tf.io.RaggedFeature(tf.string),
    features.LABEL: tf.io.FixedLenFeature([], tf.int64),
    **{name: tf.io.FixedLenFeature([], tf.string, "") for name in _SLICES},
}
_TYPES: dict[str, Any] = {USERS: np.uint64, LABELS: np.int8}  # of scores: float32


def write(
    pipeline: beam.Pipeline,
    files: Sequence[str],
    models: Mapping[str, str],
    folder: str,
    advance: Callable[[int], None],
) -> None:
    """Adds to a Beam pipeline what writes the blocks of all rows, a file for each file.

    A block is an Example with the values of its slices and, as bytes, the columns `users` (uint64
    hashes), `labels` (int8) and a float32 score under the name of each model.

    Args:
      pipeline: the caller runs it.
      files: gzip TFRecord files of raw Examples, the test split.
      models: SavedModels by name, of `eval_config`.
      folder: all workers can write to it.
      advance: is told the rows that were scored, for the progress of the component.

    Raises:
      InputError: (the pipeline) for a row without one user, or with another label than 0 and 1.
    """
    shards = [
        (file, os.path.join(folder, f"blocks-{number:05}.gz")) for number, file in enumerate(files)
    ]
    _ = (
        pipeline
        | "Files" >> beam.Create(shards)
        | "Spread" >> beam.Reshuffle()
        | "Score" >> beam.Map(_score, tuple(models.items()), advance)
    )


def extractors(eval_config: config_pb2.EvalConfig, **_: Any) -> list[extractor.Extractor]:
    """What TFMA reads of a block: its slices, and its columns. TFX calls this function."""
    return [
        extractor.Extractor("ExtractBlocks", beam.FlatMap(_extracts)),
        slice_key_extractor.SliceKeyExtractor(eval_config=eval_config, materialize=False),
    ]


def column(extracts: Mapping[str, Any], name: str) -> np.ndarray:
    """A column `(N,)` of the block in TFMA's extracts: `USERS`, `LABELS` or a model's name.

    A model alone has no name in TFMA; it is the candidate.
    """
    name = name or CANDIDATE
    return np.frombuffer(extracts["block"][name], _TYPES.get(name, np.float32))


def user_hash(user: bytes) -> int:
    """A 64-bit hash of a user id, the same in every process and on every platform."""
    return int.from_bytes(hashlib.blake2b(user, digest_size=8).digest(), "little")


def _extracts(batch: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The blocks of a batch as TFMA's extracts."""
    for row in batch[constants.ARROW_RECORD_BATCH_KEY].to_pylist():
        block = {name: values[0] for name, values in row.items() if values}
        slices = {name: np.array([block.pop(name)]) for name in _SLICES if block.get(name)}
        yield {constants.FEATURES_KEY: slices, "block": block}


def _score(
    shard: tuple[str, str], models: Sequence[tuple[str, str]], advance: Callable[[int], None]
) -> None:
    file, path = shard
    records = tf.data.TFRecordDataset(file, "GZIP").batch(_ROWS).prefetch(2)
    parts: list[dict[str, np.ndarray]] = []
    for batch in records:
        part = _columns(batch)
        for name, model_dir in models:
            part[name] = loaded.scorer(model_dir)(batch).numpy()
        parts.append(part)
        advance(len(part[LABELS]))
    with tfrecord_writer.Writer(path) as writer:
        writer.write(list(_blocks(parts)))


def _columns(records: tf.Tensor) -> dict[str, np.ndarray]:
    """The columns `(N,)` of N serialized Examples, but for scores."""
    parsed = tf.io.parse_example(records, _SPEC)
    users, label = parsed[features.USER_ID], parsed[features.LABEL].numpy()
    of_row = users.row_lengths().numpy()
    if (of_row != 1).any():
        raise InputError(
            f"`{features.USER_ID}` must hold one value in every Example: GAUC needs it. "
            f"Received: {users[int(np.argmax(of_row != 1))].numpy().tolist()}."
        )
    if not np.isin(label, (0, 1)).all():
        raise InputError(
            f"`{features.LABEL}` must be 0 or 1. Received: {label[~np.isin(label, (0, 1))][0]}."
        )
    hashes = [user_hash(user) for user in users.values.numpy().tolist()]
    return {
        USERS: np.array(hashes, np.uint64),
        LABELS: label.astype(np.int8),
        **{name: parsed[name].numpy() for name in _SLICES},
    }


def _blocks(parts: Sequence[Mapping[str, np.ndarray]]) -> Iterator[bytes]:
    """Serialized Examples, one for the rows of each combination of slices."""
    if not parts:
        return
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    keys = np.stack([columns.pop(name) for name in _SLICES])
    for key in sorted(set(zip(*keys.tolist(), strict=True))):
        inside = (keys == np.array(key, object)[:, None]).all(axis=0)
        example = tf.train.Example()
        for name, value in zip(_SLICES, key, strict=True):
            if value:
                example.features.feature[name].bytes_list.value.append(value)
        for name, values in columns.items():
            kind = _TYPES.get(name, np.float32)
            content = values[inside].astype(kind).tobytes()
            example.features.feature[name].bytes_list.value.append(content)
        yield example.SerializeToString()
