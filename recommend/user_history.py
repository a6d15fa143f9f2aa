"""What one user did, out of ratings files of any size."""

import dataclasses
import os

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.ingest import histories
from pipeline.ingest.sources import reading
from pipeline.ingest.sources.layout import ITEM, TIME, USER
from pipeline.ingest.sources.times import SECOND


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
    wanted = pa.scalar(os.fsencode(user), pa.binary())
    had: set[bytes] = set()
    newest, other = 0, b""
    for parsed in reading.read_all(settings, min_rating=0.0):
        batch = parsed.events
        if len(batch):
            newest = max(newest, pc.max(batch[TIME]).as_py() // SECOND)
            other = other or batch[USER][0].as_py()
            had.update(_of(wanted, batch)[ITEM].to_pylist())
    if not had:
        known = f"; there is, for instance, {other.decode()}" if other else ""
        raise InputError(f"User {user!r} has no ratings in {settings.ratings}{known}.")
    events = [
        _of(wanted, parsed.events) for parsed in reading.read_all(settings, settings.min_rating)
    ]
    table = pa.concat_tables(events).combine_chunks()
    ordered, _ = histories.sort_events(table, settings.sampling_seed)
    items = ordered.items.take(pa.array(ordered.item)).to_pylist()
    return UserHistory(items, ordered.time.tolist(), frozenset(had), newest)


def _of(user: pa.Scalar, batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch]).filter(pc.equal(batch[USER], user))
