"""UBR4CTR with attributes: a user worked out by hand, and the same answers on every way."""

import math

import numpy as np
import pytest
import tensorflow as tf

from model import attribute_match, presets
from model.baselines.ubr4ctr import Retrieval, UBR4CTRConfig
from model.ranker import build_ranker
from model.scorer import DataSpec
from tests.support.batches import batch, step
from transforms import features
from transforms.item_attributes import ItemAttributes
from transforms.item_ids import ItemIds

# Items 2 to 7 are rows 0 to 5 of the catalogue; nobody knows item 1, and row 6 is new: id 14.
IDS = ItemIds(oov_buckets=1, vocabulary=6, catalogue=7)
RED, BLUE, GREEN = 2, 3, 4
CATEGORY = np.array(
    [[RED, BLUE], [RED, 0], [BLUE, 0], [1, 0], [GREEN, 0], [RED, GREEN], [BLUE, GREEN]], np.int32
)
BRAND = np.array([[2], [3], [2], [2], [3], [1], [3]], np.int32)
ROWS = np.array([-1, -1, 0, 1, 2, 3, 4, 5], np.int32)
# Oldest first. Of these five events, three are red, two are blue, one is green.
HISTORY = [2, 3, 4, 5, 7]
D = 4


def attributes():
    values = {"category": CATEGORY, "brand": BRAND}
    return ItemAttributes(IDS, ROWS, values, {"category": 5, "brand": 4})


def idf(events, of=5):
    return math.log(1 + (of - events + 0.5) / (events + 0.5))


def test_the_match_of_a_user_by_hand():
    items = tf.constant([[0, *HISTORY], [0, 0, 0, 0, 0, 6]])
    got = attribute_match.relevance(attributes(), items, items != 0, tf.constant([[2, -14, 5, 1]]))
    assert got.shape == (2, 6, 4, 2)
    red, blue, green = idf(3), idf(2), idf(1)
    # Item 2 is red, blue and of brand 2, which three events have; padding comes first.
    np.testing.assert_allclose(got[0, :, 0, 0], [0, red + blue, red, blue, 0, red], rtol=1e-6)
    np.testing.assert_allclose(got[0, :, 0, 1], [0, idf(3), 0, idf(3), idf(3), 0], rtol=1e-6)
    # The new item 14 is blue, green and of brand 3, also if its id is hidden.
    np.testing.assert_allclose(got[0, :, 1, 0], [0, blue, 0, blue, 0, green], rtol=1e-6)
    np.testing.assert_allclose(got[0, :, 1, 1], [0, 0, idf(1), 0, 0, 0], rtol=1e-6)
    # Item 5 has no category; no value of a field is no match. Nobody knows item 1.
    np.testing.assert_allclose(got[0, :, 2, 0], np.zeros(6))
    np.testing.assert_allclose(got[0, :, 3], np.zeros((6, 2)))
    # Item 6 is green and of brand 3; it is the only event of its user.
    np.testing.assert_allclose(got[1, 5, 1], [idf(1, of=1)] * 2, rtol=1e-6)


def test_the_two_best_of_the_user_are_read(float64):
    rng = np.random.default_rng(0)
    block = Retrieval(UBR4CTRConfig(selected=2, selection_units=3), num_fields=2)
    items, candidates = tf.constant([HISTORY]), tf.constant([[2, 14, 1]])
    mask = items > 0
    history = tf.constant(rng.normal(size=(1, 5, D)))
    targets = tf.constant(rng.normal(size=(1, 3, D)))
    match = attribute_match.relevance(attributes(), items, mask, candidates)
    block(history, mask, targets, relevance=match)
    query = rng.normal(size=(D, D))
    block.query.kernel.assign(query)

    def read_events(category, brand):
        """Positions of the events that each candidate reads, with the fields that it asks for."""
        block.fields.kernel.assign(np.zeros([3, 2]))
        block.fields.bias.assign([category, brand])
        weights = block.attention_weights(history, mask, targets, relevance=match).numpy()[0, 0]
        user = block(history, mask, targets, relevance=match).numpy()[0]
        for k, row in enumerate(weights):
            kept = np.flatnonzero(row)
            logits = history[0].numpy()[kept] @ (targets[0, k].numpy() @ query) / np.sqrt(D)
            share = np.exp(logits) / np.exp(logits).sum()
            np.testing.assert_allclose(row[kept], share, atol=1e-9)
            np.testing.assert_allclose(user[k], share @ history[0].numpy()[kept], atol=1e-9)
        return [np.flatnonzero(row).tolist() for row in weights]

    # Item 2 by category: red + blue, then blue, which is rarer than red. Item 14: green, then the
    # newer of two blues. Nothing matches item 1: the newest two.
    assert read_events(0.1, -0.1) == [[0, 2], [2, 4], [3, 4]]
    # By brand: the newest two of three; brand 3, then the newest.
    assert read_events(-0.1, 0.1) == [[2, 3], [1, 4], [3, 4]]
    # By both: event 0 has red, blue and the brand, event 2 blue and the brand. For item 14, brand
    # and green are equally rare.
    assert read_events(0.1, 0.1) == [[0, 2], [1, 4], [3, 4]]
    # By none: the newest two.
    assert read_events(-0.1, -0.1) == [[3, 4]] * 3


def built(selected=3):
    config, recipe = presets.resolve(
        "ubr4ctr",
        f"embedding_dim=8,head_units=8,selected={selected}",
        {"table_initial_scale": 0.5},
    )
    tf.keras.utils.set_random_seed(5)
    table = attributes()
    spec = DataSpec(IDS.first_new, 7, attributes=table.sizes)
    return build_ranker(config, spec, recipe, attributes=table)


def inputs(rng):
    """A batch with ids that occur: 1 to 14."""
    rows = batch(rng)
    for name in (features.HISTORY_ITEM, features.TARGET_ITEM):
        rows[name] = 1 + rows[name] % 14
    return rows


def test_a_score_is_the_same_alone_and_sorted_by_length():
    ranker = built()
    rows = inputs(np.random.default_rng(1))
    candidates = 1 + tf.constant(np.random.default_rng(2).integers(0, 14, (12, 5)))
    together = ranker.score(ranker.encode(rows), candidates).numpy()
    np.testing.assert_allclose(ranker.score_by_length(rows, candidates), together, atol=1e-5)
    for row in range(12):
        alone = {name: values[row : row + 1] for name, values in rows.items()}
        alone[features.TARGET_ITEM] = candidates[row : row + 1, 2:3]
        np.testing.assert_allclose(ranker(alone)[0, 0], together[row, 2], atol=1e-5)


def test_every_weight_learns_also_which_fields_to_ask_for():
    ranker = built()
    rows = inputs(np.random.default_rng(0))
    loss, gradients = step(ranker, rows)
    assert np.isfinite(loss)
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert np.isfinite(tf.convert_to_tensor(gradient)).all(), name
    fields = gradients[ranker.block.fields.bias.name]
    assert np.abs(fields).max() > 0


def test_without_attributes_it_has_the_weights_that_it_had():
    config, recipe = presets.resolve("ubr4ctr", "embedding_dim=8,head_units=8", {})
    block = build_ranker(config, DataSpec(30, 7), recipe).block
    shapes = [tuple(weight.shape) for weight in block.trainable_variables]
    assert shapes == [(3, 8, 8), (8,), (8, 1), (1,), (8, 8)]
    with pytest.raises(ValueError, match="`relevance` must be given to a block with 2 fields"):
        Retrieval(config, num_fields=2)(
            tf.zeros([1, 2, 8]), tf.constant([[True, True]]), tf.zeros([1, 1, 8])
        )
