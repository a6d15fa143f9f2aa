"""Filters of a request on a catalogue of six rows, two of them for unknown ids."""

import types

import numpy as np
import pytest
import tensorflow as tf

from model.export.item_filter import ItemFilter
from transforms import item_table
from transforms.item_attributes import ItemAttributes
from transforms.item_ids import ItemIds

NAMES = ["", "unknown", "a", "b", "c", "new"]
# Value ids from 2 on: "Hair Care", "Skin=Face", "Ünder"; 1 is missing.
CATEGORIES = np.array([[2, 0], [2, 3], [4, 0], [1, 0]], np.int32)  # of a, b, c, new


class Requests:
    """Looks ids up by their place in `NAMES`; others are unknown."""

    length = 3

    def ids(self, items):
        known = [
            [NAMES.index(text.decode()) if text.decode() in NAMES else 1 for text in row]
            for row in items.numpy()
        ]
        return tf.constant(known, tf.int64, items.shape)


@pytest.fixture
def item_filter(tmp_path):
    (tmp_path / "vocabulary_0").write_text("Hair Care\nSkin=Face\nÜnder\n")
    fields = (
        item_table.AttributeField("cat.", "category", 5, 2),
        item_table.AttributeField("price", "number", 3, 1, (1.0,)),
    )
    table = item_table.ItemTable(str(tmp_path), 4, fields)
    values = {"cat.": CATEGORIES, "price": np.full((4, 1), 2, np.int32)}
    sizes = {"cat.": 5, "price": 3}
    row_of_id = np.array([-1, -1, 0, 1, 2])
    attributes = ItemAttributes(ItemIds(1, 3, 4), row_of_id, values, sizes, table)
    catalogue = types.SimpleNamespace(
        size=6, ids=tf.constant([0, 1, 2, 3, 4, 8]), rows=lambda ids: ids
    )
    return ItemFilter(catalogue, attributes, Requests())


def kept(item_filter, items=(), values=()):
    given = {
        "only_items": tf.constant([list(items)], tf.string, [1, len(items)]),
        "only_values": tf.constant([list(values)], tf.string, [1, len(values)]),
    }
    kept_to = item_filter.kept_to(given)
    allowed = np.broadcast_to(kept_to.of_rows(*kept_to.values).numpy(), (1, len(NAMES)))[0]
    return {name for name, is_allowed in zip(NAMES, allowed, strict=True) if is_allowed and name}


def test_without_lists_every_item_may_come(item_filter):
    assert kept(item_filter) == kept(item_filter, [""], ["", ""]) == set(NAMES[1:])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["cat.=Hair Care"], {"a", "b"}),
        (["cat.=Skin=Face"], {"b"}),
        (["cat.=Skin=Face", "cat.=Ünder", ""], {"b", "c"}),
        (["cat.=Nothing"], set()),
        (["catx=Hair Care"], set()),  # the name of a field is no pattern
        (["cat."], set()),
        (["price=2"], set()),  # a number is no category
        (["Hair Care"], set()),
    ],
)
def test_an_item_needs_one_of_the_values(item_filter, values, expected):
    assert kept(item_filter, values=values) == expected


def test_items_and_values_must_both_allow_it(item_filter):
    assert kept(item_filter, ["b", "c", "other"], ["cat.=Hair Care"]) == {"b"}


def test_a_request_leaves_out_its_list_and_on_request_its_history(item_filter):
    given = {
        "exclude": tf.constant([["a", ""], ["b", "c"]]),
        "exclude_history": tf.constant([True, False]),
    }
    out = item_filter.left_out(given, tf.constant([[4, 8], [4, 8]], tf.int64)).numpy()
    assert [set(row) - {0} for row in out.tolist()] == [{4, 8, 2}, {3, 4}]


def test_without_categories_no_item_has_a_value():
    catalogue = types.SimpleNamespace(size=6, rows=lambda ids: ids)
    plain = ItemFilter(catalogue, None, Requests())
    assert list(plain.inputs()) == ["exclude_history", "exclude", "only_items", "only_values"]
    assert kept(plain, ["a"]) == {"a"}
    assert kept(plain, values=["cat.=Hair Care"]) == set()
