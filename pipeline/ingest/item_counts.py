"""The training events of each item, as ingestion leaves them beside the Examples."""

import os

import pyarrow.compute as pc
from tfx.dsl.io import fileio

from pipeline.errors import InputError
from pipeline.ingest import arrow_files
from pipeline.ingest.stages import ITEM_COUNTS


def write_frequent_items(examples: str, least: int, path: str) -> int:
    """Writes the items with at least `least` events in training, one a line.

    Ids with a line break are left out; such an item has no id of its own.

    Args:
      examples: the folder that ingestion wrote.
      least: events of an item, each counted once.
      path: of the file.

    Returns:
      the number of items.

    Raises:
      InputError: if the counts are missing.
    """
    parts = sorted(str(part) for part in fileio.glob(os.path.join(examples, ITEM_COUNTS, "*")))
    if not parts:
        raise InputError(
            "`min_item_count` above 1 needs the counts of items that ingestion writes. "
            f"Received: no {ITEM_COUNTS} in {examples}. Ingest the ratings again."
        )
    written = 0
    with fileio.open(path, "wb") as file:
        for part in parts:
            table = arrow_files.read(part)
            items = table.filter(pc.greater_equal(table["count"], least))["item"].to_pylist()
            items = [item for item in items if b"\n" not in item and b"\r" not in item]
            file.write(b"".join(item + b"\n" for item in items))
            written += len(items)
    return written
