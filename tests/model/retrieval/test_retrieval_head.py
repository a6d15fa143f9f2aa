"""The first stage against NumPy: users, the corrected softmax, and what it leaves alone."""

import numpy as np
import pytest
import tensorflow as tf

from model import presets
from model.ranker import build_ranker
from model.retrieval.retrieval_head import RetrievalHead, newest_events
from model.scorer import DataSpec
from model.training.optimizer import LazyAdam
from tests.support import first_stage
from transforms import features

ITEMS = 40
HISTORIES = [[7, 9, 11, 7], [], [20, 21], [33]]
ELAPSED = [[9, 5, 2, 0], [], [3, 1], [31]]
TARGETS = [12, 30, 12, 9]
LABELS = [1, 0, 1, 1]


@pytest.fixture
def head():
    tf.keras.utils.set_random_seed(4)
    head = RetrievalHead(10, ITEMS, 6)
    head.build_weights()
    for variable in (head.tower.position, head.tower.elapsed, *head.tower.trainable_variables):
        variable.assign(tf.random.normal(variable.shape))
    return head


def tensors(rows):
    return {name: tf.constant(values) for name, values in rows.items()}


@pytest.fixture
def rows():
    return tensors(first_stage.batch(HISTORIES, TARGETS, LABELS, ELAPSED))


def expected_users(head):
    vectors = first_stage.unit(head.encoder.tables["item"].numpy())
    return np.array(
        [
            first_stage.user(head, vectors[history], elapsed)
            for history, elapsed in zip(HISTORIES, ELAPSED, strict=True)
        ]
    )


def test_a_user_is_two_weighted_means_and_a_hidden_layer(head, rows):
    vectors = first_stage.unit(head.encoder.tables["item"].numpy())
    users = head.users(rows, tf.gather(tf.constant(vectors), rows[features.HISTORY_ITEM]))
    np.testing.assert_allclose(users, expected_users(head), atol=1e-5)


def test_a_user_depends_on_the_newest_events_alone(head):
    events, ages = list(range(3, 33)), list(range(30, 0, -1))
    rows = first_stage.batch([events, events[:5]], [3, 3], [1, 1], [ages, ages[:5]])
    newest = newest_events(tensors(rows))
    assert newest[features.HISTORY_LENGTH].numpy().tolist() == [20, 5]
    vectors = first_stage.unit(head.encoder.tables["item"].numpy())
    users = head.users(newest, tf.gather(tf.constant(vectors), newest[features.HISTORY_ITEM]))
    for row, (items, old) in enumerate([(events[-20:], ages[-20:]), (events[:5], ages[:5])]):
        expected = first_stage.user(head, vectors[items], old)
        np.testing.assert_allclose(users[row], expected, atol=1e-5)


def test_the_loss_is_a_softmax_over_the_targets_less_the_log_of_their_shares(head, rows):
    """Twice, because the shares are those of all targets so far."""
    vectors = first_stage.unit(head.encoder.tables["item"].numpy())
    counts = np.zeros(ITEMS + 1)
    for _ in range(2):
        np.add.at(counts, TARGETS, 1)
        share = counts / counts.sum()
        losses = []
        for row, user in enumerate(expected_users(head)):
            if LABELS[row]:
                # The other row with the same target is no negative.
                others = [v for r, v in enumerate(TARGETS) if r == row or v != TARGETS[row]]
                logits = [vectors[v] @ user / 0.1 - np.log(share[v]) for v in others]
                own = vectors[TARGETS[row]] @ user / 0.1 - np.log(share[TARGETS[row]])
                losses.append(np.log(np.sum(np.exp(logits))) - own)
        np.testing.assert_allclose(head.loss(rows), np.mean(losses), rtol=1e-4)


def test_negatives_are_counted(head, rows):
    """Item 30 is a negative once, all others never; new items share one more row."""
    head.loss(rows)
    ids = np.array([30, 12, 39, ITEMS, ITEMS + 7])
    np.testing.assert_allclose(head.negative_shares(ids), np.array([2, 1, 1, 1, 1]) / 6)


def test_a_batch_without_positives_has_no_loss(head):
    rows = tensors(first_stage.batch(HISTORIES, TARGETS, [0] * 4, ELAPSED))
    assert head.loss(rows) == 0


def test_padding_does_not_count(head, rows):
    before = float(head.loss(rows))
    wider = {
        name: tf.pad(values, [[0, 0], [0, 3]], constant_values=13)
        if name in (features.HISTORY_ITEM, features.HISTORY_ELAPSED)
        else values
        for name, values in rows.items()
    }
    # Counting the same targets again leaves their shares.
    assert float(head.loss(wider)) == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize("model", ["imn_3p_plus", "youtube_dnn"])
def test_the_ranker_learns_the_same_with_it_and_without_it(model, rows):
    """Bit for bit: they share nothing."""
    weights = []
    for candidates in (0, 5):
        config, recipe = presets.resolve(model, "embedding_dim=8,head_units=8", {})
        tf.keras.utils.set_random_seed(0)
        ranker = build_ranker(config, DataSpec(ITEMS, 5), recipe, 1, retrieval=candidates)
        ranker.optimizer = LazyAdam(0.01, 0.01)
        ranker.optimizer.build(ranker.trainable_variables)
        losses = [float(ranker.update_weights(rows)[0].total) for _ in range(3)]
        parts = (ranker.encoder, ranker.block, ranker.head)
        weights.append((losses, [value for part in parts for value in part.get_weights()]))
    assert weights[0][0] == weights[1][0]
    for left, right in zip(weights[0][1], weights[1][1], strict=True):
        np.testing.assert_array_equal(left, right)


def test_training_brings_the_targets_of_a_history_to_the_top(head):
    """Users of the first half of the items want items of that half."""
    rng = np.random.default_rng(0)
    optimizer = LazyAdam(0.01, 0.05)
    optimizer.build(head.trainable_variables)

    def draw(count):
        half = rng.integers(2, size=count)
        items = 3 + half[:, None] * 18 + rng.integers(18, size=(count, 5))
        return tensors(
            first_stage.batch(items[:, :4].tolist(), items[:, 4], [1] * count, [[1] * 4] * count)
        )

    for _ in range(150):
        with tf.GradientTape() as tape:
            loss = head.loss(draw(32))
        gradients = tape.gradient(loss, head.trainable_variables)
        optimizer.apply_gradients(zip(gradients, head.trainable_variables, strict=True))
    rows = draw(200)
    vectors = head.items(tf.range(ITEMS, dtype=tf.int64))
    users = head.users(rows, tf.gather(vectors, rows[features.HISTORY_ITEM]))
    best = tf.math.top_k(tf.matmul(users, vectors[3:39], transpose_b=True), 10).indices.numpy()
    half = rows[features.TARGET_ITEM].numpy() >= 21
    assert ((best >= 18) == half).mean() > 0.95
