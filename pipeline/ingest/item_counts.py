"""The training events of each item, as ingestion leaves them beside the Examples."""

import os

import numpy as np
import pyarrow.compute as pc
from tfx.dsl.io import fileio

from pipeline.errors import InputError
from pipeline.ingest import arrow_files
from pipeline.ingest.stages import ITEM_COUNTS
from transforms.preprocessing import item_hashes


def write_frequent_items(examples: str, least: int, path: str) -> int:
    """Writes the hashes of the items with at least `least` events in training, as `.npy`.

    Args:
      examples: the folder that ingestion wrote.
      least: events of an item, each counted once.
      path: of the file, which ends in `.npy`.

    Returns:
      the number of items.

    Raises:
      InputError: if the counts are missing.
    """
    hashes = []
    for part in _parts(examples):
        table = arrow_files.read(part)
        items = table.filter(pc.greater_equal(table["count"], least))["item"]
        hashes.append(item_hashes(items.to_numpy()).numpy())
    frequent = np.sort(np.concatenate(hashes))
    with fileio.open(path, "wb") as file:
        np.save(file, frequent)
    return len(frequent)


def training_events(examples: str) -> tuple[np.ndarray, np.ndarray]:
    """The items of training and their events.

    Returns:
      sorted hashes (`hashing.hash_strings`) uint64, and events int64, both of shape (I,).

    Raises:
      InputError: if the counts are missing.
    """
    tables = [arrow_files.read(part) for part in _parts(examples)]
    hashes = np.concatenate([table["hash"].to_numpy() for table in tables])
    counts = np.concatenate([table["count"].to_numpy() for table in tables])
    order = np.argsort(hashes)
    return hashes[order], counts[order]


def _parts(examples: str) -> list[str]:
    parts = sorted(str(part) for part in fileio.glob(os.path.join(examples, ITEM_COUNTS, "*")))
    if not parts:
        raise InputError(
            "`min_item_count` above 1 and `items` need the counts of items that ingestion writes. "
            f"Received: no {ITEM_COUNTS} in {examples}. Ingest the ratings again."
        )
    return parts
