"""The item table: attribute values of every item of a catalogue, as arrays.

A row of the table belongs to an item. Each field is an int32 matrix `(C, M)` of value ids: 0 is
padding, 1 says that the item has no value, the others are values of the field's vocabulary or
buckets of its numbers. The table depends on the catalogue and the training items alone, never on
who rated an item or when.
"""

import dataclasses
import json
import os
from typing import Any

import numpy as np
import tensorflow as tf

FOLDER = "item_table"  # in the folder of a Transform graph
IDS = "catalogue_items"  # raw ids, a line each; the name of the asset, too
DESCRIPTION = "item_table.json"
TITLES = "titles"  # of the items, for people: a line for each row, "" for none
IN_EXPORT = os.path.join("assets.extra", DESCRIPTION)  # in the folder of a SavedModel
PADDING, MISSING, FIRST_VALUE = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class AttributeField:
    """One field of the table.

    Attributes:
      name: in the catalogue.
      kind: "category" or "number".
      rows: number of value ids, with padding and missing.
      width: M, values that an item has at most.
      bounds: of a number: the lower bounds of the buckets after the first.
    """

    name: str
    kind: str
    rows: int
    width: int
    bounds: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class ItemTable:
    """A table on disk; the files are read when they are asked for.

    Attributes:
      folder: of its files.
      items: C, rows of the table.
      fields: its fields.
      source: file or glob of the catalogue.
      id_column: the column of the raw ids there.
    """

    folder: str
    items: int
    fields: tuple[AttributeField, ...]
    source: str = ""
    id_column: str = ""

    @property
    def ids_file(self) -> str:
        """The file with the raw id of each row."""
        return os.path.join(self.folder, IDS)

    def ids(self) -> list[bytes]:
        """The raw ids, in the order of the rows."""
        with tf.io.gfile.GFile(self.ids_file, "rb") as file:
            return file.read().split(b"\n")[:-1]

    def titles(self) -> list[str]:
        """The titles, in the order of the rows; empty if the catalogue has none."""
        path = os.path.join(self.folder, TITLES)
        if not tf.io.gfile.exists(path):
            return []
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read().decode("utf-8").split("\n")[:-1]

    def values(self, field: int) -> np.ndarray:
        """Value ids `(C, M)` of a field."""
        with tf.io.gfile.GFile(os.path.join(self.folder, f"field_{field}.npy"), "rb") as file:
            return np.load(file)

    def vocabulary_file(self, field: int) -> str:
        """The file with the values of a category, a line each, from `FIRST_VALUE` on."""
        return os.path.join(self.folder, vocabulary_name(field))

    def vocabulary(self, field: int) -> list[str]:
        """The values of a category, in the order of their ids from `FIRST_VALUE` on."""
        with tf.io.gfile.GFile(self.vocabulary_file(field), "r") as file:
            return file.read().split("\n")[:-1]

    def shape(self) -> dict[str, Any]:
        """What a model depends on: the fields that hold trained rows, for JSON."""
        return {field.name: field.rows for field in self.fields}


def vocabulary_name(field: int) -> str:
    """The file name of the values of a category; of the asset in an export, too."""
    return f"vocabulary_{field}"


def load(folder: str) -> ItemTable | None:
    """The table in a folder; None if there is none."""
    return described(os.path.join(folder, DESCRIPTION))


def described(path: str) -> ItemTable | None:
    """The table that a description names; None if there is none."""
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, "r") as file:
        description = json.load(file)
    fields = tuple(
        AttributeField(**field | {"bounds": tuple(field["bounds"])})
        for field in description["fields"]
    )
    return ItemTable(
        os.path.dirname(path),
        description["items"],
        fields,
        description.get("source", ""),
        description.get("id", ""),
    )


def of_transform_graph(folder: str) -> ItemTable | None:
    """The table that lies in the folder of a Transform graph; None if there is none."""
    return load(os.path.join(folder, FOLDER))
