"""Reads the history of one user from ratings files of any size."""

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
    """The events of a user, in the order of the ingestion.

    Attributes:
      items: ids, oldest first.
      times: Unix seconds of each event.
      values: of each event, by the feature of an event field.
      rated: ids of all items that the user rated, also below `min_rating`.
      newest: Unix seconds of the latest rating of any user.
    """

    items: list[bytes]
    times: list[int]
    values: dict[str, list[bytes]]
    rated: frozenset[bytes]
    newest: int


def read(settings: Settings, user: str) -> UserHistory:
    """Reads the ratings block by block and selects those of the user.

    Args:
      settings: uses `ratings`, `layout`, `min_rating`, `sampling_seed` and `event_fields`.
      user: id of the user.

    Raises:
      InputError: if there are no ratings, or none of this user.
    """
    wanted = pa.scalar(os.fsencode(user), pa.binary())
    rated: set[bytes] = set()
    newest, other = 0, b""
    for parsed in reading.read_all(settings, min_rating=0.0):
        batch = parsed.events
        if len(batch):
            newest = max(newest, pc.max(batch[TIME]).as_py() // SECOND)
            other = other or batch[USER][0].as_py()
            rated.update(_select(wanted, batch)[ITEM].to_pylist())
    if not rated:
        example = f" A user with ratings: {other.decode()}." if other else ""
        raise InputError(f"User {user!r} has no ratings in {settings.ratings}.{example}")
    events = [
        _select(wanted, parsed.events) for parsed in reading.read_all(settings, settings.min_rating)
    ]
    return of_events(
        pa.concat_tables(events).combine_chunks(), settings.sampling_seed, frozenset(rated), newest
    )


def of_events(table: pa.Table, seed: int, rated: frozenset[bytes], newest: int) -> UserHistory:
    """The history of a user from the rows of the ratings, which are in any order.

    Args:
      table: as `histories.sort_events` takes it.
      seed: the order of events with the same time.
      rated: as in `UserHistory`, like `newest`.
    """
    ordered, _ = histories.sort_events(table, seed)
    items = ordered.items.take(pa.array(ordered.item)).to_pylist()
    values = {name: column.to_pylist() for name, column in ordered.values.items()}
    return UserHistory(items, ordered.time.tolist(), values, rated, newest)


def _select(user: pa.Scalar, batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch]).filter(pc.equal(batch[USER], user))
