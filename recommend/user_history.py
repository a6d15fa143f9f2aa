"""What one user did, out of ratings files of any size."""

import dataclasses
import os
import time

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.ingest import files, histories, readers
from pipeline.ingest.formats import ITEM, TIME, USER


@dataclasses.dataclass(frozen=True)
class UserHistory:
    """A user's events as ingestion orders them.

    Attributes:
      items: ids, oldest first.
      times: seconds since 1970 of each.
      had: ids of all that the user rated, also below `min_rating`.
      newest: the latest time of anybody's rating.
    """

    items: list[bytes]
    times: list[int]
    had: frozenset[bytes]
    newest: int


def read(settings: Settings, user: str) -> UserHistory:
    """Reads the ratings block by block and keeps the user's.

    Args:
      settings: `ratings`, `layout`, `min_rating` and `sampling_seed` are read.
      user: the id.

    Raises:
      InputError: where there are no ratings, or none of this user.
    """
    now = time.time()
    wanted = pa.scalar(os.fsencode(user), pa.binary())
    events, had, newest, other = [], set(), 0, b""
    ranges, _ = files.plan(files.list_files(settings.ratings), settings.layout)
    for part in ranges:
        for block in files.read_blocks(part):
            batch = readers.parse(part, block, 0.0, now).events
            if not len(batch):
                continue
            newest = max(newest, pc.max(batch[TIME]).as_py())
            other = other or batch[USER][0].as_py()
            own = _of(wanted, batch)
            had.update(own[ITEM].to_pylist())
            if len(own) and settings.min_rating > 0:
                own = _of(wanted, readers.parse(part, block, settings.min_rating, now).events)
            events.append(own)
    if not had:
        known = f"; there is, for instance, {other.decode()}" if other else ""
        raise InputError(f"User {user!r} has no ratings in {settings.ratings}{known}.")
    table = pa.concat_tables(events).combine_chunks()
    ordered, _ = histories.sort_events(table, settings.sampling_seed)
    items = ordered.items.take(pa.array(ordered.item)).to_pylist()
    return UserHistory(items, ordered.time.tolist(), frozenset(had), newest)


def _of(user: pa.Scalar, batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch]).filter(pc.equal(batch[USER], user))
