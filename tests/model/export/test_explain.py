"""The signature `explain`: the scores of `rank`, and weights at the positions of the request."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from model import presets
from model.export.signatures import ServingModule
from model.ranker import build_ranker
from model.scorer import DataSpec
from tests.support.raw_examples import DAY, NOW
from transforms import features

CANDIDATES = [b"i007", b"i001", b"unknown", b"i059"]


@pytest.fixture(scope="module")
def served(export):
    return tf.saved_model.load(export).signatures


def request(histories, width, garbage=b"garbage"):
    """Inputs of `rank` and `explain`, with garbage beyond each history."""
    rows = len(histories)
    items = np.full((rows, width), garbage, object)
    times = np.full((rows, width), 77, np.int64)
    for row, history in enumerate(histories):
        items[row, : len(history)] = history
        times[row, : len(history)] = [NOW - day * DAY for day in range(len(history), 0, -1)]
    return {
        "history_item": tf.constant(items.tolist(), tf.string, [rows, width]),
        "history_time": tf.constant(times),
        "history_length": tf.constant([len(history) for history in histories], tf.int64),
        "request_time": tf.constant([NOW] * rows, tf.int64),
        "candidates": tf.constant([CANDIDATES] * rows),
    }


def attention(served, histories, width):
    return served["explain"](**request(histories, width))["attention"].numpy()


HISTORIES = [[b"i001", b"i002", b"i003"], [], [b"i%03d" % n for n in range(10, 19)], [b"new"]]


def test_it_scores_as_rank_does(served):
    inputs = request(HISTORIES, 9)
    expected = served["rank"](**inputs)["scores"]
    np.testing.assert_allclose(served["explain"](**inputs)["scores"], expected, atol=1e-7)


def test_no_candidates_have_no_scores_and_no_weights(served):
    none = {"candidates": tf.zeros([4, 0], tf.string)}
    answer = served["explain"](**request(HISTORIES, 9) | none)
    assert answer["scores"].shape == (4, 0)
    assert answer["attention"].shape == (4, 3, 0, 9)


def test_weights_are_at_the_positions_of_the_events_that_are_read(served, world):
    """Above 0 for every event that is read, exactly 0 elsewhere."""
    for width in (9, 14):
        weights = attention(served, HISTORIES, width)
        assert weights.shape == (4, 3, 4, width)
        for row, history in enumerate(HISTORIES):
            position = np.arange(width)
            read = (position < len(history)) & (position >= len(history) - world.length)
            np.testing.assert_array_equal(weights[row] > 0, np.broadcast_to(read, (3, 4, width)))


def test_weights_follow_their_events(served, world):
    """Also in a request with more events than the model reads."""
    newest = HISTORIES[2][-world.length :]
    alone = attention(served, [newest], world.length)[0]
    assert np.ptp(alone, axis=2).min() > 1e-6
    longer = attention(served, HISTORIES, 12)[2, :, :, 9 - world.length : 9]
    np.testing.assert_allclose(longer, alone, atol=1e-6)


def test_the_weights_are_those_of_the_block(served, ranker, world):
    """The first event of a history of two is column L − 2 of what the model reads."""
    inputs = request([[b"i001", b"i002"]], 2)
    transform = tft.TFTransformOutput(world.transform)
    vocabulary = transform.vocabulary_by_name(features.ITEM_VOCABULARY)
    ids = {name: 1 + world.oov_buckets + index for index, name in enumerate(vocabulary)}
    encoded = ranker.encode(
        {
            features.HISTORY_ITEM: tf.constant([[ids[b"i001"], ids[b"i002"]]], tf.int64),
            features.HISTORY_LENGTH: tf.constant([2], tf.int64),
            features.HISTORY_ELAPSED: tf.constant([[2, 1]], tf.int64),  # two days, and one
        }
    )
    targets = ranker.encoder.candidates(tf.constant([[ids[b"i007"], ids[b"i001"]]], tf.int64))
    expected = ranker.block.attention_weights(encoded.history, encoded.mask, targets)
    weights = served["explain"](**inputs)["attention"][:, :, :2]
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_a_model_without_attention_weights_has_no_signature_explain(world, tmp_path):
    config, recipe = presets.resolve("youtube_dnn", "embedding_dim=8,head_units=8", {})
    transform = tft.TFTransformOutput(world.transform)
    items = 1 + world.oov_buckets + transform.vocabulary_size_by_name(features.ITEM_VOCABULARY)
    ranker = build_ranker(config, DataSpec(items, world.length), recipe)
    ServingModule(ranker, transform).save(str(tmp_path / "model"))
    signatures = tf.saved_model.load(str(tmp_path / "model")).signatures
    assert "rank" in signatures
    assert "explain" not in signatures
