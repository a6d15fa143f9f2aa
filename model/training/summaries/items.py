"""Names and attributes of item ids, for people."""

import functools
from collections.abc import Iterable

import numpy as np
import tensorflow_transform as tft

from transforms import features, item_table
from transforms.item_ids import ItemIds
from transforms.item_table import AttributeField, ItemTable


class ItemNames:
    """Raw ids, titles and attributes by item id. The files are read at the first question.

    Args:
      transform_graph_dir: folder of the Transform graph, with the item table if there is one.
      oov_buckets: ids that unknown items share.
    """

    def __init__(self, transform_graph_dir: str, oov_buckets: int):
        self._folder, self._oov_buckets = transform_graph_dir, oov_buckets

    def raw(self, items: Iterable[int]) -> list[str]:
        """The ids as in the ratings; `unknown` for the ids that unknown items share."""
        first = self.ids.first_known
        return [
            _text(self._vocabulary[item - first])
            if first <= item < self.ids.first_new
            else _text(self._catalogue[item - self.ids.first_new])
            if item >= first
            else "unknown"
            for item in map(int, items)
        ]

    def titles(self, items: Iterable[int]) -> list[str]:
        """The titles in the catalogue; "" where it has none."""
        return [self._titles.get(raw.encode(), "") for raw in self.raw(items)]

    def labels(self, items: Iterable[int]) -> list[str]:
        """Titles, and ids as in the ratings where there is no title."""
        items = list(items)
        pairs = zip(self.titles(items), self.raw(items), strict=True)
        return [title or raw for title, raw in pairs]

    @functools.cached_property
    def ids(self) -> ItemIds:
        """The layout of the ids."""
        return ItemIds(self._oov_buckets, len(self._vocabulary), len(self._catalogue))

    @functools.cached_property
    def table(self) -> ItemTable | None:
        """The item table; None without a catalogue."""
        return item_table.of_transform_graph(self._folder)

    @functools.cached_property
    def _vocabulary(self) -> list[bytes]:
        transform = tft.TFTransformOutput(self._folder)
        return transform.vocabulary_by_name(features.ITEM_VOCABULARY)

    @functools.cached_property
    def _catalogue(self) -> list[bytes]:
        return self.table.ids() if self.table else []

    @functools.cached_property
    def _titles(self) -> dict[bytes, str]:
        titles = self.table.titles() if self.table else []
        return dict(zip(self._catalogue, titles, strict=False))


def values(field: AttributeField, vocabulary: list[str], rows: np.ndarray) -> list[str]:
    """The values of a field as texts, joined by commas; "" for a missing one.

    Args:
      field: of the item table.
      vocabulary: its values; empty for a number, whose texts are ranges.
      rows: value ids `(N, M)`.
    """
    if vocabulary:
        names = vocabulary
    else:
        bounds = [f"{bound:g}" for bound in field.bounds]
        names = (
            [f"below {bounds[0]}", *(f"from {bound}" for bound in bounds)] if bounds else ["any"]
        )
    first = item_table.FIRST_VALUE
    return [", ".join(names[value - first] for value in row if value >= first) for row in rows]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
