"""A digest of a folder of Examples, independent of their order and of the files."""

import glob
import os

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx_bsl.coders import example_coder

from pipeline.ingest import hashing
from transforms import features

_ROWS = 4096


def digest(folder: str) -> dict[str, str]:
    """Number of Examples and sum of their hashes, for each split.

    Args:
      folder: `Split-train`, `Split-eval` and `Split-test` with gzip TFRecords.

    Returns:
      `COUNT:HASH` by split; the hash covers feature names, values and lengths.
    """
    result = {}
    for name in features.SPLITS:
        paths = sorted(glob.glob(os.path.join(folder, f"Split-{name}", "*")))
        count, total = 0, 0
        decoder = example_coder.ExamplesToRecordBatchDecoder()
        records = tf.data.TFRecordDataset(paths, compression_type="GZIP", buffer_size=1 << 20)
        for batch in records.batch(_ROWS).as_numpy_iterator():
            rows = decoder.DecodeBatch(batch.tolist())
            count += rows.num_rows
            # Mixed again, so that rows that exchange parts have another sum.
            total += int(hashing.mix(7, _hash_rows(rows)).sum(dtype=np.uint64))
        result[name] = f"{count}:{total & 0xFFFFFFFFFFFFFFFF:016x}"
    return result


def _hash_rows(rows: pa.RecordBatch) -> np.ndarray:
    """Hash `(N,)` of each row over its feature names, values and numbers of values."""
    h = np.zeros(rows.num_rows, np.uint64)
    for name in sorted(rows.schema.names):
        column = rows.column(rows.schema.get_field_index(name))
        values = column.flatten()
        if pa.types.is_integer(values.type):
            hashes = hashing.mix(values.to_numpy())
        else:
            hashes = hashing.hash_strings(values.cast(pa.binary()))
        offsets = np.asarray(column.offsets).astype(np.int64)
        lengths = np.diff(offsets)
        position = np.arange(len(hashes)) - np.repeat(offsets[:-1] - offsets[0], lengths)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashing.mix(position, hashes))])
        total = sums[offsets[1:] - offsets[0]] - sums[offsets[:-1] - offsets[0]]
        h = hashing.mix(h, hashing.hash_strings(pa.array([name]))[0], lengths, total)
    return h
