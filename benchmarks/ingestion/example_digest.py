"""A digest of the examples in a folder that does not depend on their order or their files."""

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
    """For each split, the number of examples and the sum of their hashes, by parsed features.

    Args:
      folder: with `Split-train` and the like, in TFRecords, gzip.
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
            # Twice mixed, so that the sum is not that of the parts.
            total += int(hashing.mix(7, _hash_rows(rows)).sum(dtype=np.uint64))
        result[name] = f"{count}:{total & 0xFFFFFFFFFFFFFFFF:016x}"
    return result


def _hash_rows(rows: pa.RecordBatch) -> np.ndarray:
    """Hash of each row, shape (N,): of names, values and how many values there are."""
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
        place = np.arange(len(hashes)) - np.repeat(offsets[:-1] - offsets[0], lengths)
        placed = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashing.mix(place, hashes))])
        total = placed[offsets[1:] - offsets[0]] - placed[offsets[:-1] - offsets[0]]
        h = hashing.mix(h, hashing.hash_strings(pa.array([name]))[0], lengths, total)
    return h
