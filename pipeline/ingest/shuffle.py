"""The shuffle through files: rows go from files of any content to one bucket each, in levels.

A file is cut into at most `FAN_OUT` partitions. With more buckets, rows pass through several
levels: the first separates wide ranges of buckets, and each further level cuts a range into
narrower ones, until a range is a bucket. Between two levels the rows of a range, which come from
many files, are merged into files of about `MERGED_BYTES`.

With one level, P files and B buckets take P · B opens. With levels, a file is opened at most
`FAN_OUT` times, so that opens grow with P. The price: each further level reads and writes all rows
once more.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from pipeline.ingest import arrow_files

FAN_OUT = 64  # partitions in a file: one level is enough for 1.5 GB of text
MERGED_BYTES = 32 << 20  # decides the memory of a worker that merges

# Files by the range of buckets whose rows they hold. At the first level all are under 0.
Files = Mapping[int, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Levels:
    """The ranges of buckets at each level.

    Args:
      buckets: number of buckets.
    """

    buckets: int

    @property
    def count(self) -> int:
        """The number of levels: the least with `FAN_OUT ** count >= buckets`."""
        count = 1
        while FAN_OUT**count < self.buckets:
            count += 1
        return count

    @property
    def fan(self) -> int:
        """The number of partitions in a file: the least with `fan ** count >= buckets`."""
        fan = 1
        while fan**self.count < self.buckets:
            fan += 1
        return fan

    def ranges(self, level: int) -> int:
        """The number of ranges at a level, from 0 on; at the last one a range is a bucket."""
        return -(-self.buckets // self._width(level))

    def write(self, path: str, batch: pa.RecordBatch, bucket: np.ndarray, level: int = 0) -> None:
        """Writes rows so that each range of a level can be read on its own.

        Args:
          path: path of the file.
          batch: N rows; beyond level 0, of one range of the level before.
          bucket: bucket of each row, shape (N,).
          level: the level.
        """
        part = bucket // self._width(level) % self.fan
        arrow_files.write_partitions(path, batch, part, self.fan)

    def read(self, files: Files, bucket: int) -> pa.Table:
        """The rows of a bucket, from the files of the last level; one chunk in each column."""
        return arrow_files.read_partition(sorted(files[bucket // self.fan]), bucket % self.fan)

    def merge(self, files: Files, part: int) -> Iterator[pa.RecordBatch]:
        """The rows of a range in batches of about `MERGED_BYTES`; at least one, perhaps empty.

        Args:
          files: the files of a level other than the last one.
          part: the range, at that level.
        """
        paths = sorted(files[part // self.fan])
        waiting: list[pa.Table] = []
        for path in paths:
            waiting.append(arrow_files.read_partition([path], part % self.fan))
            if path == paths[-1] or sum(table.nbytes for table in waiting) >= MERGED_BYTES:
                yield _one_batch(pa.concat_tables(waiting))
                waiting = []

    def _width(self, level: int) -> int:
        return self.fan ** (self.count - 1 - level)


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    if batches:
        return batches[0]
    columns = [pa.array([], field.type) for field in table.schema]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)
