"""The items of a model: its vocabulary and its catalogue, to search and to describe them."""

import dataclasses
import os
import threading

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from recommend import attributes, behind, titles


@dataclasses.dataclass(frozen=True)
class Item:
    """What is known of an item; `title` and `about` are "" for what has none.

    Attributes:
      item: its id.
      title: of the catalogue, or of a file of titles.
      about: its attributes, as one line.
      known: whether training had it.
    """

    item: str
    title: str = ""
    about: str = ""
    known: bool = False


class ItemIndex:
    """All items: first those of training, the most frequent first, then the rest of the catalogue.

    Args:
      folder: of the version.
      title_file: as `titles.read` takes it; "" for the titles of the catalogue alone.
      stop: ends the reading, with an InputError.

    Raises:
      InputError: if the titles cannot be read.
    """

    def __init__(self, folder: str, title_file: str, stop: threading.Event):
        with open(behind.vocabulary(folder), "rb") as file:
            lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in file)
            rows = {item: ("", "") for item in lines if item}
        self.known = len(rows)
        try:
            for item, title, about in attributes.catalogue(folder):
                if stop.is_set():
                    raise InputError("The server is stopping.")
                rows[item] = (title, about)
        except OSError as error:
            raise InputError(f"The catalogue of this model cannot be read: {error}") from None
        if title_file:
            for item, title in titles.read(title_file, rows.keys()).items():
                rows[item] = (title, rows[item][1])
        self._ids = pa.array(rows, pa.string())
        self._titles = pa.array([title for title, _ in rows.values()], pa.string())
        self._abouts = pa.array([about for _, about in rows.values()], pa.string())
        self._text = pc.utf8_lower(
            pc.binary_join_element_wise(self._ids, self._titles, self._abouts, "\n")
        )

    def frequent(self, limit: int) -> list[str]:
        """Ids of the items with most events in training."""
        return self._ids[: min(limit, self.known)].to_pylist()

    def search(self, query: str, limit: int) -> list[Item]:
        """Items that contain all words of `query` in id, title or attributes; frequent ones first.

        An item with exactly this id comes before them.
        """
        found = pa.array(np.ones(len(self._ids), bool))
        for word in query.lower().split():
            found = pc.and_(found, pc.match_substring(self._text, word))
        rows = np.flatnonzero(found)[:limit].tolist()
        exact = pc.index(self._ids, query.strip()).as_py()
        if exact >= 0:
            rows = [exact, *(row for row in rows if row != exact)][:limit]
        return [self._item(row) for row in rows]

    def describe(self, items: list[str]) -> list[Item]:
        """What is known of each item; for one that is nowhere, its id alone."""
        rows = pc.index_in(pa.array(items, pa.string()), value_set=self._ids).to_pylist()
        return [
            Item(item) if row is None else self._item(row)
            for item, row in zip(items, rows, strict=True)
        ]

    def _item(self, row: int) -> Item:
        item, title, about = (
            column[row].as_py() for column in (self._ids, self._titles, self._abouts)
        )
        return Item(item, title, about, row < self.known)
