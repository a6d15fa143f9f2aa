"""How many files ingestion opens between its stages, computed from the plan of its shuffle.

Example: python -m benchmarks.ingestion.opens

Nothing is run. A test (tests/benchmarks/ingestion/test_opens.py) holds the formula against a run in
which every open is counted. It takes rows as evenly spread over the buckets.
"""

import argparse
import math

from benchmarks import reporting
from pipeline.ingest import job, shuffle
from pipeline.ingest.sources import records

RATINGS = (2e6, 22.5e6, 1e9)
LINE_BYTES = 40.7  # text of a rating: Amazon Books 2014, 916,259,383 bytes, 22.5 million ratings
ROW_BYTES = 40.0  # of its event in Arrow: ids of 24 bytes, their offsets, the time
ITEM_BYTES = 30.0  # of an item's count in Arrow: hash, id of 10 bytes and offset, count
_WHOLE_READS = 3  # count, pool and write each read the sorted events of a bucket
_IN_EACH_PROCESS = 2  # item counts and pools of all buckets


def opens(
    files: int, buckets: int, event_bytes: float, item_bytes: float, processes: int = 1
) -> int:
    """Files opened for reading between the stages of a job.

    Args:
      files: that `partition` writes, one for each block of text.
      buckets: number of buckets.
      event_bytes: bytes of all events in memory.
      item_bytes: bytes of the item counts of all buckets in memory.
      processes: workers.
    """
    shuffled = of_shuffle(files, buckets, event_bytes) + of_shuffle(buckets, buckets, item_bytes)
    return shuffled + (_WHOLE_READS + _IN_EACH_PROCESS * processes) * buckets


def of_shuffle(files: int, buckets: int, size: float) -> int:
    """Files opened by one shuffle of `size` bytes from `files` files to the buckets.

    Each range of a level opens the files of the range around it, and merges its rows into files of
    at least `MERGED_BYTES`; at the end each bucket opens those of the last range.
    """
    levels = shuffle.Levels(buckets)
    total, of_range = 0, {0: files}
    for level in range(1, levels.count):
        width = levels.fan ** (levels.count - level)  # buckets in a range of the level before
        merged = {}
        for part in range(levels.ranges(level - 1)):
            count = of_range[part // levels.fan]
            total += count
            share = min(width, buckets - part * width) / buckets
            merged[part] = _merged(count, size * share / count)
        of_range = merged
    return total + sum(of_range[bucket // levels.fan] for bucket in range(buckets))


def _merged(count: int, each: float) -> int:
    """Files that `count` pieces of `each` bytes are merged into."""
    together = max(1, math.ceil(shuffle.MERGED_BYTES / each)) if each else count
    return math.ceil(count / together)


def of_ratings(ratings: float, processes: int) -> dict[str, float]:
    """Ranges, buckets, levels and opens for a number of ratings, as a run would plan them."""
    text = ratings * LINE_BYTES
    files, buckets = math.ceil(text / records.BLOCK_BYTES), max(1, int(text / job.BUCKET_BYTES))
    # At most: an item of its own for each event of a bucket.
    opened = opens(files, buckets, ratings * ROW_BYTES, ratings * ITEM_BYTES, processes)
    one_level = (files + buckets) * buckets
    one_level += (_WHOLE_READS + _IN_EACH_PROCESS * processes) * buckets
    return {
        "ratings": ratings,
        "ranges": files,
        "buckets": buckets,
        "levels": shuffle.Levels(buckets).count,
        "one_level": one_level,
        "opens": opened,
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingestion.opens", description=__doc__
    )
    parser.add_argument("--processes", type=int, default=2, help="workers")
    processes = parser.parse_args().processes
    head = ["million ratings", "ranges", "buckets", "levels", "opens with one level", "opens"]
    print(reporting.line(head))
    print(reporting.rule(len(head) - 1))
    for row in (of_ratings(ratings, processes) for ratings in RATINGS):
        cells = [f"{row['ratings'] / 1e6:,g}"]
        cells += [f"{row[name]:,.0f}" for name in ("ranges", "buckets", "levels")]
        print(reporting.line([*cells, f"{row['one_level']:,.0f}", f"{row['opens']:,.0f}"]))


if __name__ == "__main__":
    main()
