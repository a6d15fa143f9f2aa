"""Names of item ids: of the vocabulary, of the catalogue, and of those that nobody knows."""

import json

import numpy as np

from model.training.summaries.items import ItemNames, values
from transforms import item_table
from transforms.item_table import AttributeField


def test_names_of_ids(tmp_path, monkeypatch):
    folder = tmp_path / item_table.FOLDER
    folder.mkdir()
    (folder / item_table.DESCRIPTION).write_text(json.dumps({"items": 3, "fields": []}))
    (folder / item_table.IDS).write_bytes(b"b\nnew\na\n")
    (folder / item_table.TITLES).write_text("The b\n\nThe a\n")
    names = ItemNames(str(tmp_path), oov_buckets=2)
    names.__dict__["_vocabulary"] = [b"a", b"rare"]
    # 0 is padding, 1 and 2 are shared, then the vocabulary, then the rows of the catalogue.
    assert names.raw(range(8)) == ["unknown"] * 3 + ["a", "rare", "b", "new", "a"]
    assert names.titles([3, 4, 5, 1]) == ["The a", "", "The b", ""]
    assert names.labels([3, 4, 6, 1]) == ["The a", "rare", "new", "unknown"]


def test_values_of_fields_as_texts():
    category = AttributeField("brand", "category", 4, 2)
    rows = np.array([[2, 3], [3, 0], [item_table.MISSING, item_table.PADDING]])
    assert values(category, ["Acme", "Other"], rows) == ["Acme, Other", "Other", ""]
    price = AttributeField("price", "number", 5, 1, (2.5, 10.0))
    assert values(price, [], np.array([[2], [3], [4], [1]])) == [
        "below 2.5",
        "from 2.5",
        "from 10",
        "",
    ]
