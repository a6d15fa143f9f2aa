"""The search by blocks of rows against NumPy: batches that fill blocks, and those that do not."""

import numpy as np
import pytest
import tensorflow as tf

from model.export import first_stage
from model.export.catalogue import Catalogue
from model.retrieval.retrieval_head import RetrievalHead
from transforms import features
from transforms.item_ids import ItemIds

ITEMS, OOV = 40, 2
VOCABULARY = [b"i%02d" % number for number in range(ITEMS)]


@pytest.fixture(scope="module")
def head():
    tf.keras.utils.set_random_seed(0)
    head = RetrievalHead(10, 1 + OOV + ITEMS, 8, use_time=False)
    head.build_weights()
    return head


@pytest.fixture(scope="module")
def catalogue(head):
    return Catalogue(head, ItemIds(OOV, ITEMS), VOCABULARY, [])


def requests(rows):
    """Histories, ids to leave out and rows of the catalogue to keep to, of some users."""
    rng = np.random.default_rng(rows)
    history = rng.integers(1 + OOV, 1 + OOV + ITEMS, (rows, 5))
    return (
        {
            features.HISTORY_ITEM: tf.constant(history),
            features.HISTORY_LENGTH: tf.constant(rng.integers(0, 6, rows)),
        },
        rng.integers(0, 1 + OOV + ITEMS, (rows, 4)),
        rng.random((rows, 1 + OOV + ITEMS)) < 0.7,
    )


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 9])
@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_every_row_gets_its_own_best_items(head, catalogue, monkeypatch, rows, at_once, filtered):
    monkeypatch.setattr(first_stage, "_COSINES", at_once * catalogue.size)
    inputs, left_out, kept_to = requests(rows)
    search = first_stage.FirstStage(head, catalogue)

    def of_rows(kept):
        # All rows at once could need more memory than there is.
        tf.debugging.assert_less_equal(tf.shape(kept)[0], at_once)
        return kept

    found = tf.function(search.candidates)(
        inputs,
        tf.constant(12),
        tf.constant(left_out),
        first_stage.Allowed([tf.constant(kept_to)], of_rows) if filtered else None,
    )
    vectors = catalogue.vectors.numpy()
    users = head.users(inputs, tf.gather(vectors, inputs[features.HISTORY_ITEM])).numpy()
    assert found.rows.shape == (rows, 12)
    for row in range(rows):
        cosines = vectors @ users[row]
        cosines[: 1 + OOV] = -np.inf  # have no name
        cosines[left_out[row]] = -np.inf
        if filtered:
            cosines[~kept_to[row]] = -np.inf
        best = np.argsort(-cosines, kind="stable")[:12]
        assert found.rows[row].numpy().tolist() == best.tolist()
        np.testing.assert_allclose(found.scores[row], cosines[best], atol=1e-6)
