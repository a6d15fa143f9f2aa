"""The users and items of the page, from the ratings and the catalogue behind a pushed model."""

import dataclasses
import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pipeline.configs import Settings
from pipeline.errors import InputError
from recommend import behind
from recommend.item_index import ItemIndex
from recommend.user_index import UserIndex
from serving.errors import not_found

T = TypeVar("T")
_MOST_INDEXES = 2  # of each kind in memory: two models side by side


class RatingsPageData:
    """`serving.page.data.PageData` over files. The first question about a version reads them.

    Args:
      models: the folder with MODEL/VERSION folders, in the output folder of the run.
      settings: `ratings` and the settings of reading, where they are given.
      title_file: as `titles.read` takes it, or "".
    """

    def __init__(self, models: str, settings: Settings, title_file: str = ""):
        self._models, self._settings, self._title_file = models, settings, title_file
        self._output = os.path.dirname(os.path.abspath(models))
        self._stop = threading.Event()
        self._users = _Newest[UserIndex](_MOST_INDEXES)
        self._items = _Newest[ItemIndex](_MOST_INDEXES)
        self._reading = _Newest[Settings](_MOST_INDEXES)

    def users(self, model: str, version: int, query: str, limit: int) -> list[dict[str, Any]]:
        """Users whose id contains `query`."""
        return [_user(*each) for each in self._index(model, version).users(query, limit)]

    def any_user(self, model: str, version: int) -> dict[str, Any]:
        """One of the users, by chance."""
        return _user(*self._index(model, version).any_user())

    def history(self, model: str, version: int, user: str) -> dict[str, Any]:
        """The events of a user, oldest first."""
        index = self._index(model, version)
        try:
            found = index.history(user)
        except InputError as error:
            raise not_found(str(error)) from None
        events = [
            {
                "item": item.decode(),
                "time": time,
                "values": {name: column[row].decode() for name, column in found.values.items()},
            }
            for row, (item, time) in enumerate(zip(found.items, found.times, strict=True))
        ]
        return {
            "user": user,
            "events": events,
            "rated": sorted(item.decode() for item in found.rated),
            "newest": found.newest,
        }

    def search(self, model: str, version: int, query: str, limit: int) -> list[dict[str, Any]]:
        """Items whose id, title and attributes contain all words."""
        found = self._catalogue(model, version).search(query, limit)
        return [dataclasses.asdict(item) for item in found]

    def describe(self, model: str, version: int, items: list[str]) -> list[dict[str, Any]]:
        """Title and attributes of each item."""
        found = self._catalogue(model, version).describe(items)
        return [dataclasses.asdict(item) for item in found]

    def frequent(self, model: str, version: int, limit: int) -> list[str]:
        """The ids of the items with most events in training."""
        return self._catalogue(model, version).frequent(limit)

    def close(self) -> None:
        """Ends the reading of files."""
        self._stop.set()

    def _index(self, model: str, version: int) -> UserIndex:
        def read() -> UserIndex:
            folder = self._folder(model, version)
            settings = self._reading.get(
                folder, lambda: behind.settings(self._settings, self._output, folder)
            )
            # Versions of the same ratings share an index.
            return self._users.get(settings, lambda: UserIndex(settings, self._stop))

        return _or_not_found(read)

    def _catalogue(self, model: str, version: int) -> ItemIndex:
        folder = self._folder(model, version)
        return _or_not_found(
            lambda: self._items.get(folder, lambda: ItemIndex(folder, self._title_file, self._stop))
        )

    def _folder(self, model: str, version: int) -> str:
        return os.path.join(self._models, model, str(version))


def _user(user: str, events: int) -> dict[str, Any]:
    return {"user": user, "events": events}


def _or_not_found(read: Callable[[], T]) -> T:
    try:
        return read()
    except (InputError, OSError) as error:
        raise not_found(f"Users and items cannot be shown. {error}") from None


class _Newest(Generic[T]):
    """Keeps the values of the keys that were asked last; one thread makes a value."""

    def __init__(self, most: int):
        self._most = most
        self._values: dict[Any, T] = {}
        self._making = threading.Lock()

    def get(self, key: Any, make: Callable[[], T]) -> T:
        """The value of a key; `make` makes it where it is not there."""
        with self._making:
            value = self._values.pop(key, None) or make()
            self._values[key] = value  # the last one
            while len(self._values) > self._most:
                del self._values[next(iter(self._values))]
        return value
