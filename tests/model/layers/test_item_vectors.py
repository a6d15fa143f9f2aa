"""Item vectors of the encoder with attributes, against sums by hand."""

import numpy as np
import pytest
import tensorflow as tf

from model.layers.encoder import HistoryEncoder
from transforms.item_attributes import ItemAttributes
from transforms.item_ids import ItemIds

IDS = ItemIds(oov_buckets=1, vocabulary=3, catalogue=4)  # ids 2, 3, 4 are known, 5 to 8 new
D = 4
# Rows of the catalogue: values of a category with two places, and of a number.
CATEGORY = np.array([[2, 3], [4, 0], [1, 0], [3, 0]], np.int32)
PRICE = np.array([[2], [1], [3], [3]], np.int32)
ROW_OF_ID = np.array([-1, -1, 1, -1, 0], np.int32)  # id 2 is row 1, id 3 has none, id 4 is row 0
# Value ids of each item, by hand.
EXPECTED = {
    0: ([1], [1]),
    1: ([1], [1]),
    2: ([4], [1]),
    3: ([1], [1]),
    4: ([2, 3], [2]),
    5: ([2, 3], [2]),
    6: ([4], [1]),
    7: ([1], [3]),
    8: ([3], [3]),
}


def attributes():
    values = {"category": CATEGORY, "price": PRICE}
    return ItemAttributes(IDS, ROW_OF_ID, values, {"category": 5, "price": 4})


def encoder(**options):
    tf.keras.utils.set_random_seed(1)
    layer = HistoryEncoder(IDS.first_new, D, 0, False, 1.0, attributes=attributes(), **options)
    layer(tf.zeros([1, 1], tf.int64), tf.zeros([1], tf.int64))
    return layer


def by_hand(layer, item, hidden=False):
    """The vectors of id, category and price."""
    tables = {name: table.numpy() for name, table in layer.tables.items()}
    category, price = EXPECTED[item]
    parts = [tables["field_category"][category].mean(0), tables["field_price"][price].mean(0)]
    if layer.use_ids:
        row = IDS.first_new if hidden or item >= IDS.first_new else item
        parts.insert(0, tables["item"][row])
    return parts


@pytest.mark.parametrize("use_ids", [True, False])
def test_the_sum(use_ids):
    layer = encoder(use_ids=use_ids)
    assert ("item" in layer.tables) == use_ids
    got = layer.candidates(tf.constant([list(EXPECTED)], tf.int64)).numpy()[0]
    np.testing.assert_allclose(got, [sum(by_hand(layer, item)) for item in EXPECTED], atol=1e-6)


def test_a_hidden_item_has_the_row_of_new_items_and_its_own_attributes():
    layer = encoder()
    got = layer.candidates(tf.constant([[-2, -4, -6]], tf.int64)).numpy()[0]
    expected = [sum(by_hand(layer, item, hidden=True)) for item in (2, 4, 6)]
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_the_projection():
    layer = encoder(projection=True)
    got = layer.candidates(tf.constant([[4, 7]], tf.int64)).numpy()[0]
    kernel = layer.combine.kernel.numpy()
    expected = [np.concatenate(by_hand(layer, item)) @ kernel for item in (4, 7)]
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_history_is_encoded_as_its_items_and_zeros():
    layer = encoder()
    history, mask = layer(tf.constant([[4, 8, 3], [6, 9, 9]], tf.int64), tf.constant([2, 1]))
    assert mask.numpy().tolist() == [[False, True, True], [False, False, True]]
    expected = np.zeros((2, 3, D), np.float32)
    expected[0, 1:] = [sum(by_hand(layer, item)) for item in (4, 8)]
    expected[1, 2] = sum(by_hand(layer, 6))
    np.testing.assert_allclose(history.numpy(), expected, atol=1e-6)


def test_distinct_items_and_their_places():
    layer = encoder()
    ids = [tf.constant([[4, 4], [8, 2]], tf.int64), tf.constant([2, 6], tf.int64)]
    distinct, places = layer.distinct_items(ids)
    assert distinct.ids.numpy().tolist() == [4, 8, 2, 6]
    for each, place in zip(ids, places, strict=True):
        np.testing.assert_array_equal(tf.gather(distinct.ids, place), each)
        got = tf.gather(distinct.vectors, place)
        np.testing.assert_allclose(got, layer.candidates(each), atol=1e-6)


def test_gradients_touch_the_rows_in_use_alone():
    layer = encoder()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer.candidates(tf.constant([[4, 4, 6]], tf.int64)))
    names = ("item", "field_category", "field_price")
    gradients = tape.gradient(loss, [layer.tables[name] for name in names])
    assert all(isinstance(gradient, tf.IndexedSlices) for gradient in gradients)
    dense = [tf.convert_to_tensor(gradient).numpy()[:, 0] for gradient in gradients]
    # Id 4 twice and the row of new items once; 4 has values 2 and 3 by halves; prices 2, 2 and 1.
    assert dense[0].tolist() == [0, 0, 0, 0, 2, 1]
    assert dense[1].tolist() == [0, 0, 1, 1, 1]
    assert dense[2].tolist() == [0, 1, 2, 0]


def test_something_must_be_known_of_an_item():
    with pytest.raises(ValueError, match=r"`use_ids` must be true without attributes.*IMN_ITEMS"):
        HistoryEncoder(10, D, use_ids=False)


def test_a_field_may_have_any_name(tmp_path):
    names = ("Sub Category é", "a/b:c")
    values = {name: PRICE for name in names}
    odd = ItemAttributes(IDS, ROW_OF_ID, values, dict.fromkeys(names, 4))
    layer = HistoryEncoder(IDS.first_new, D, 0, False, 1.0, attributes=odd)
    layer(tf.zeros([1, 1], tf.int64), tf.zeros([1], tf.int64))
    before = layer.candidates(tf.constant([[4, 6]], tf.int64)).numpy()
    checkpoint = tf.train.Checkpoint(encoder=layer)
    path = checkpoint.write(str(tmp_path / "weights"))
    for table in layer.tables.values():
        table.assign(tf.zeros_like(table))
    checkpoint.read(path).assert_consumed()
    np.testing.assert_array_equal(layer.candidates(tf.constant([[4, 6]], tf.int64)), before)
