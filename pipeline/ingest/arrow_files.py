"""Arrow tables that stages hand on through files: whole, or in partitions.

Files are Arrow IPC; in a partitioned one, record batch p is partition p. A file
appears under its name only when it is whole, so a bundle that a runner repeats
overwrites what it wrote before.
"""

import uuid
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

# Beam's files, and not TFX's, because Arrow can read and seek in them.
_PLAIN = CompressionTypes.UNCOMPRESSED


def write(path: str, schema: pa.Schema, batches: Sequence[pa.RecordBatch]) -> None:
    """Writes record batches, if there are any, to an IPC file at `path`."""
    temporary = f"{path}.{uuid.uuid4().hex}"
    with (
        FileSystems.create(temporary, compression_type=_PLAIN) as file,
        pa.ipc.new_file(file, schema) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)
    FileSystems.rename([temporary], [path])


def write_partitions(path: str, batch: pa.RecordBatch, part: np.ndarray, parts: int) -> None:
    """Writes the rows of `batch` so that one partition can be read at a time.

    Args:
      path: of the file.
      batch: N rows.
      part: the partition of each row, shape (N,), in [0, parts).
      parts: how many partitions.
    """
    order = np.argsort(part, kind="stable")
    ends = np.cumsum(np.bincount(part, minlength=parts))
    # Arrow 10 has no `RecordBatch.take`.
    columns = [column.take(pa.array(order)) for column in batch.columns]
    ordered = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
    begins = [0, *ends[:-1].tolist()]
    slices = [ordered.slice(b, e - b) for b, e in zip(begins, ends.tolist(), strict=True)]
    write(path, batch.schema, slices)


def read(path: str) -> pa.Table:
    """All rows of an IPC file."""
    with _open(path) as file, pa.ipc.open_file(file) as reader:
        return reader.read_all()


def read_partition(paths: Sequence[str], part: int) -> pa.Table:
    """The rows of one partition of all files, which share a schema; columns in one chunk each."""
    batches = []
    for path in paths:
        with _open(path) as file, pa.ipc.open_file(file) as reader:
            batches.append(reader.get_batch(part))
    return pa.Table.from_batches(batches).combine_chunks()


def _open(path: str) -> BinaryIO:
    return FileSystems.open(path, compression_type=_PLAIN)
