"""The encoder against a look-up written out, and its rules about padding."""

import numpy as np
import pytest
import tensorflow as tf

from model.layers.encoder import HistoryEncoder
from transforms import features

ITEMS, D = 20, 4


def by_hand(encoder, items, length, elapsed, positions):
    tables = {name: table.numpy() for name, table in encoder.tables.items()}
    out = np.zeros((*items.shape, D), np.float32)
    for b, n in enumerate(length):
        for j in range(n):
            place = items.shape[1] - n + j  # the newest is the last column
            out[b, place] = tables["item"][items[b, j]]
            if "time" in tables:
                out[b, place] += tables["time"][elapsed[b, j]]
            if positions:
                out[b, place] += tables["position"][min(n - 1 - j, positions - 1)]
    return out


def histories(width=6, seed=0):
    rng = np.random.default_rng(seed)
    length = np.array([0, 1, width, width - 1])
    items = rng.integers(1, ITEMS, (4, width))
    return items, length, rng.integers(0, features.NUM_TIME_BUCKETS, (4, width))


def test_the_sum_of_three_tables_counted_back_from_the_request():
    items, length, elapsed = histories()
    for positions, use_time in ((6, True), (6, False), (0, True), (3, True)):
        encoder = HistoryEncoder(ITEMS, D, positions, use_time, initial_scale=1.0)
        e, mask = encoder(items, length, elapsed if use_time else None)
        expected = by_hand(encoder, items, length, elapsed, positions)
        np.testing.assert_allclose(e, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(mask, np.arange(6) >= 6 - length[:, None])


def test_an_encoder_of_times_without_times_is_an_error():
    items, length, _ = histories()
    with pytest.raises(ValueError, match="`elapsed` must be given"):
        HistoryEncoder(ITEMS, D, 6)(items, length)


def test_lengths_decide_what_is_padding_and_not_ids():
    items, length, elapsed = histories()
    encoder = HistoryEncoder(ITEMS, D, 6, initial_scale=1.0)
    e, _ = encoder(items, length, elapsed)
    padded = np.arange(6) >= length[:, None]
    # Ids that no table has must not even be looked up.
    e2, _ = encoder(np.where(padded, 10**9, items), length, np.where(padded, -5, elapsed))
    np.testing.assert_array_equal(e, e2)
    # Item 0 in a filled place is an item like any other.
    items[2, 3] = 0
    _, mask = encoder(items, length, elapsed)
    assert mask.numpy()[2].all()


def test_any_length_and_either_shape_of_it():
    encoder = HistoryEncoder(ITEMS, D, 4, initial_scale=1.0)
    for width in (1, 4, 9, 0):
        items, _, elapsed = histories(width)
        length = np.full((4, 1), width)
        e, mask = encoder(items, length, elapsed)
        expected = by_hand(encoder, items, length[:, 0], elapsed, 4)
        np.testing.assert_allclose(e, expected, rtol=1e-5, atol=1e-6)
        assert mask.shape == (4, width)
    # A length beyond the places there are is all of them.
    items, _, elapsed = histories(3)
    e, mask = encoder(items, np.array([50, 3, 4, 51]), elapsed)
    assert mask.numpy().all()
    expected = by_hand(encoder, items, [3] * 4, elapsed, 4)
    np.testing.assert_allclose(e, expected, rtol=1e-5, atol=1e-6)


def test_candidates_are_rows_of_the_item_table_alone():
    encoder = HistoryEncoder(ITEMS, D, 4, initial_scale=1.0)
    encoder(*histories())
    ids = np.array([[3, 3], [0, 19]])
    np.testing.assert_array_equal(encoder.candidates(ids), tf.gather(encoder.tables["item"], ids))


def test_first_values_have_the_scale_asked_for():
    encoder = HistoryEncoder(5000, 16, 0, False, initial_scale=0.01)
    encoder(np.zeros((1, 1), np.int64), np.array([1]))
    values = encoder.tables["item"].numpy()
    assert abs(values.std() / 0.01 - 1) < 0.02
    assert abs(values.mean()) < 1e-3


def test_gradients_stay_sparse():
    encoder = HistoryEncoder(ITEMS, D, 6)
    items, length, elapsed = histories()
    with tf.GradientTape() as tape:
        e, _ = encoder(items, length, elapsed)
        loss = tf.reduce_sum(e) + tf.reduce_sum(encoder.candidates(items[:, :2]))
    for gradient in tape.gradient(loss, encoder.trainable_variables):
        assert isinstance(gradient, tf.IndexedSlices)


def test_a_row_of_the_time_table_learns_from_every_place_it_stands_in():
    encoder = HistoryEncoder(ITEMS, D, 6)
    items, length, elapsed = histories()
    upstream = np.random.default_rng(1).normal(size=(4, 6, D)).astype(np.float32)
    with tf.GradientTape() as tape:
        e, _ = encoder(items, length, elapsed)
        loss = tf.reduce_sum(e * upstream)
    expected = np.zeros((features.NUM_TIME_BUCKETS, D))
    for b, n in enumerate(length):
        np.add.at(expected, elapsed[b, :n], upstream[b, 6 - n :])
    got = tf.convert_to_tensor(tape.gradient(loss, encoder.tables["time"]))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_event_fields_are_added_to_events_and_not_to_candidates():
    items, length, elapsed = histories()
    rows = {"rating": 6, "of many values": 1_001}
    encoder = HistoryEncoder(ITEMS, D, 6, initial_scale=1.0, event_fields=rows)
    rng = np.random.default_rng(2)
    values = {
        "history_rating": rng.integers(0, 6, (4, 6)),
        "history_of_many_values": rng.integers(0, 1_001, (4, 6)),
    }
    e, mask = encoder(items, length, elapsed, events=values)
    expected = by_hand(encoder, items, length, elapsed, 6)
    tables = [encoder.tables[name].numpy() for name in ("event_rating", "event_of_many_values")]
    for table, ids in zip(tables, values.values(), strict=True):
        for b, n in enumerate(length):
            expected[b, 6 - n :] += table[ids[b, :n]]
    np.testing.assert_allclose(e, expected, rtol=1e-5, atol=1e-6)
    assert not e.numpy()[~mask.numpy()].any()
    # Beyond the length nothing is looked up.
    beyond = np.arange(6) >= length[:, None]
    garbage = {name: np.where(beyond, 10**9, ids) for name, ids in values.items()}
    np.testing.assert_array_equal(encoder(items, length, elapsed, events=garbage)[0], e)
    candidates = encoder.candidates(items)
    np.testing.assert_array_equal(candidates, tf.gather(encoder.tables["item"], items))
    del values["history_rating"]
    with pytest.raises(ValueError, match=r"`events` must have the feature `history_rating`"):
        encoder(items, length, elapsed, events=values)


def test_gradients_of_event_tables_are_sums_over_their_places():
    items, length, elapsed = histories()
    rows = {"few": 5, "many": 1_001}
    encoder = HistoryEncoder(ITEMS, D, 6, event_fields=rows)
    ids = np.random.default_rng(3).integers(0, 5, (4, 6))
    upstream = np.random.default_rng(1).normal(size=(4, 6, D)).astype(np.float32)
    with tf.GradientTape() as tape:
        e, _ = encoder(items, length, elapsed, events={"history_few": ids, "history_many": ids})
        loss = tf.reduce_sum(e * upstream)
    expected = np.zeros((5, D))
    for b, n in enumerate(length):
        np.add.at(expected, ids[b, :n], upstream[b, 6 - n :])
    tables = [encoder.tables["event_few"], encoder.tables["event_many"]]
    for gradient in tape.gradient(loss, tables):
        assert isinstance(gradient, tf.IndexedSlices)
        np.testing.assert_allclose(tf.convert_to_tensor(gradient)[:5], expected, atol=1e-5)
