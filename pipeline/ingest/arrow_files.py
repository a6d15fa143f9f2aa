"""Arrow IPC files between the stages, whole or in partitions.

In a partitioned file, record batch p is partition p. A file gets its name when it is complete, so a
bundle that a runner repeats overwrites its earlier output.
"""

import uuid
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

# Beam's file systems instead of TFX's, because Arrow can read and seek in their files.
_PLAIN = CompressionTypes.UNCOMPRESSED


def write(path: str, schema: pa.Schema, batches: Sequence[pa.RecordBatch]) -> None:
    """Writes record batches (possibly none) to an IPC file."""
    temporary = f"{path}.{uuid.uuid4().hex}"
    with (
        FileSystems.create(temporary, compression_type=_PLAIN) as file,
        pa.ipc.new_file(file, schema) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)
    FileSystems.rename([temporary], [path])


def write_partitions(path: str, batch: pa.RecordBatch, part: np.ndarray, parts: int) -> None:
    """Writes the rows of `batch` so that each partition can be read on its own.

    Args:
      path: path of the file.
      batch: N rows.
      part: partition of each row, shape (N,), in [0, parts).
      parts: number of partitions.
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
    """One partition of all files, with one chunk in each column; the files share a schema."""
    batches = []
    for path in paths:
        with _open(path) as file, pa.ipc.open_file(file) as reader:
            batches.append(reader.get_batch(part))
    return pa.Table.from_batches(batches).combine_chunks()


def _open(path: str) -> BinaryIO:
    return FileSystems.open(path, compression_type=_PLAIN)
