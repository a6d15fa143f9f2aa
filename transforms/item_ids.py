"""Integer ids of items: their layout, and the graph that looks raw ids up.

    0            padding
    1 ...        out-of-vocabulary buckets: items that neither training nor the catalogue knows
    ...          the vocabulary: items of training, most frequent first
    ...          the catalogue: one id a row, for items that only the catalogue knows

An item of the vocabulary has its id there, also if the catalogue knows it.
"""

import contextlib
import dataclasses
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft


@dataclasses.dataclass(frozen=True)
class ItemIds:
    """The layout of the ids.

    Attributes:
      oov_buckets: ids that unknown items share.
      vocabulary: number of items with an id of their own.
      catalogue: rows of the item table; 0 without one.
    """

    oov_buckets: int
    vocabulary: int
    catalogue: int = 0

    @property
    def first_known(self) -> int:
        """The id of the first item of the vocabulary."""
        return 1 + self.oov_buckets

    @property
    def first_new(self) -> int:
        """The id of the first row of the catalogue; without one, the number of ids."""
        return self.first_known + self.vocabulary


def catalogue_rows(file: str) -> tf.lookup.StaticHashTable:
    """The rows of raw ids in the item table, -1 for others; call it once in a `preprocessing_fn`.

    Args:
      file: with a raw id for each row.
    """
    return tft.make_and_track_object(lambda: line_numbers(file), "catalogue")


def lookup(
    items: tf.Tensor,
    vocabulary: Any,
    oov_buckets: int,
    catalogue: tf.lookup.StaticHashTable | None = None,
) -> tf.Tensor:
    """Ids of raw items, int64 in their shape.

    Args:
      items: strings of any shape, `""` is padding.
      vocabulary: the result of `tft.vocabulary`, or the path of a file of lines.
      oov_buckets: number of ids that unknown items share, by hash.
      catalogue: the result of `catalogue_rows`, or None.
    """
    ids = 1 + tf.strings.to_hash_bucket_fast(items, oov_buckets)
    if catalogue is None:
        known = tft.apply_vocabulary(items, vocabulary, default_value=-1)
    else:
        known, size = _lookup_with_size(items, vocabulary)
        row = catalogue.lookup(items)
        ids = tf.where(row >= 0, 1 + oov_buckets + size + row, ids)
    ids = tf.where(known >= 0, known + 1 + oov_buckets, ids)
    return tf.where(tf.equal(items, ""), tf.zeros_like(ids), ids)


def _lookup_with_size(items: tf.Tensor, vocabulary: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """`tft.apply_vocabulary`, and the size of the vocabulary in the same graph."""
    sizes = []

    def from_file(values: tf.Tensor, file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with contextlib.ExitStack() as stack:
            known_now = isinstance(file, str) or hasattr(file, "numpy")
            if tf.inside_function() and known_now:
                stack.enter_context(tf.init_scope())  # the table belongs to the graph's module
            table = line_numbers(file)
            sizes.append(table.size())
        return table.lookup(values), sizes[0]

    known = tft.apply_vocabulary(items, vocabulary, default_value=-1, lookup_fn=from_file)
    return known, sizes[0]


def line_numbers(file: Any) -> tf.lookup.StaticHashTable:
    """Line numbers of the lines of a file, -1 for others."""
    lines = tf.lookup.TextFileInitializer(
        file,
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    return tf.lookup.StaticHashTable(lines, -1)
