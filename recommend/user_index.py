"""All events of the ratings in memory, to find users and their histories at once."""

import dataclasses
import random
import threading
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.ingest.sources import reading
from pipeline.ingest.sources.layout import ITEM, TIME, USER
from pipeline.ingest.sources.times import SECOND
from recommend import user_history
from recommend.user_history import UserHistory


class UserIndex:
    """The events by user. Each takes 16 bytes, each id its characters once.

    Args:
      settings: uses what `user_history.read` uses.
      stop: ends the reading, with an InputError.

    Raises:
      InputError: if there are no ratings that can be read.
    """

    def __init__(self, settings: Settings, stop: threading.Event):
        self._seed = settings.sampling_seed
        self._events = _read(settings, settings.min_rating, stop)
        # Items below `min_rating` are no events, but the user has rated them.
        self._rated = _read(settings, 0.0, stop) if settings.min_rating > 0 else self._events
        self.newest = int(pc.max(self._rated.table[TIME]).as_py()) // SECOND
        users = self._events.users
        self._counts = np.bincount(self._events.user, minlength=len(users))
        self._texts = users.cast(pa.string())

    def users(self, query: str, limit: int) -> list[tuple[str, int]]:
        """Ids that contain `query` in any case, with their events; most events first."""
        found = np.arange(len(self._texts))
        if query:
            found = pc.indices_nonzero(
                pc.match_substring(self._texts, query, ignore_case=True)
            ).to_numpy()
        order = np.argsort(-self._counts[found], kind="stable")[:limit]
        return [(self._texts[int(row)].as_py(), int(self._counts[row])) for row in found[order]]

    def any_user(self) -> tuple[str, int]:
        """A user by chance, each with the same probability."""
        row = random.randrange(len(self._texts))
        return self._texts[row].as_py(), int(self._counts[row])

    def history(self, user: str) -> UserHistory:
        """The history of a user.

        Raises:
          InputError: if the ratings have no such user.
        """
        rated = self._rated.of(user)
        if not len(rated):
            raise InputError(f"User {user!r} has no ratings in the ratings behind this model.")
        items = frozenset(rated[ITEM].to_pylist())
        return user_history.of_events(self._events.of(user), self._seed, items, self.newest)


@dataclasses.dataclass(frozen=True)
class _Table:
    """Rows of the ratings.

    Attributes:
      users: ids, each once.
      user: the index in `users` of each row.
      table: the rows, with dictionaries instead of texts.
    """

    users: pa.Array
    user: np.ndarray
    table: pa.Table

    def of(self, user: str) -> pa.Table:
        """The rows of a user, with plain texts, one chunk a column."""
        code = pc.index(self.users, pa.scalar(user.encode(), pa.binary())).as_py()
        rows = self.table.take(pa.array(np.flatnonzero(self.user == code)))
        plain = {
            name: column.cast(column.type.value_type)
            if pa.types.is_dictionary(column.type)
            else column
            for name, column in zip(rows.column_names, rows.columns, strict=True)
        }
        return pa.table(plain).combine_chunks()


def _read(settings: Settings, min_rating: float, stop: threading.Event) -> _Table:
    tables = list(_encoded(settings, min_rating, stop))
    if not sum(len(table) for table in tables):
        raise InputError(f"There are no ratings in {settings.ratings}.")
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    user = table[USER].chunk(0)
    return _Table(user.dictionary, user.indices.to_numpy(), table)


def _encoded(settings: Settings, min_rating: float, stop: threading.Event) -> Iterator[pa.Table]:
    """The events block by block; texts become int32 indices and a dictionary."""
    for parsed in reading.read_all(settings, min_rating):
        if stop.is_set():
            raise InputError("The server is stopping.")
        batch = parsed.events
        if len(batch):
            columns = {
                name: column if name == TIME else column.dictionary_encode()
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            }
            yield pa.table(columns)
