"""The mini-batch-aware L2 of the item table against values worked by hand."""

import numpy as np
import pytest
import tensorflow as tf

from model import presets
from model.ranker import build_ranker
from model.scorer import DataSpec
from model.training.embedding_l2 import EmbeddingL2, item_counts
from transforms import features


def batch():
    return {
        features.HISTORY_ITEM: tf.constant([[3, 4, 9], [4, 4, 9], [9, 9, 9]], tf.int64),
        features.HISTORY_LENGTH: tf.constant([[2], [2], [0]], tf.int64),
        features.TARGET_ITEM: tf.constant([[5], [3], [6]], tf.int64),
    }


def test_only_rows_of_the_batch_decay_divided_by_their_counts():
    config, recipe = presets.resolve("imn_2p", "embedding_dim=2", {"table_initial_scale": 1.0})
    ranker = build_ranker(config, DataSpec(12, 3), recipe)
    counts = np.array([0, 0, 0, 7, 2, 0, 5, 0, 0, 1, 0, 0])
    table = ranker.encoder.tables["item"]
    with tf.GradientTape() as tape:
        value = EmbeddingL2(0.3, counts)(ranker, batch())
    squares = (table.numpy() ** 2).sum(axis=1)
    # Items 3, 4, 5 and 6; 9 is always padding. The count 0 of item 5 is taken as 1.
    expected = 0.15 * (squares[3] / 7 + squares[4] / 2 + squares[5] / 1 + squares[6] / 5)
    assert float(value) == pytest.approx(expected, rel=1e-5)
    gradient = tape.gradient(value, table)
    assert isinstance(gradient, tf.IndexedSlices)
    dense = tf.convert_to_tensor(gradient).numpy()
    assert set(np.flatnonzero(dense.any(axis=1))) == {3, 4, 5, 6}
    np.testing.assert_allclose(dense[4], 0.3 * table.numpy()[4] / 2, rtol=1e-5)


def test_item_counts_cover_histories_and_targets_of_all_samples(world):
    import tensorflow_transform as tft

    from model.training import data

    spec = tft.TFTransformOutput(world.transform).transformed_feature_spec()
    files = data.files_of([f"{world.train}/*"], "train")
    got = item_counts(files, spec, 100)
    expected = np.zeros(100, int)
    for rows in data.evaluation_batches(files, spec, 7):
        for items, length, target in zip(
            rows[features.HISTORY_ITEM].numpy(),
            rows[features.HISTORY_LENGTH].numpy().reshape(-1),
            rows[features.TARGET_ITEM].numpy().reshape(-1),
            strict=True,
        ):
            for item in [*items[:length], target]:
                expected[item] += 1
    np.testing.assert_array_equal(got, expected)
    assert got.sum() > 3000
    assert got[0] == 0
