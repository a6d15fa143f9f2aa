"""The whole model: padding, candidates, lengths, gradients, a step of training."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from model import presets
from model.configs import TrainingConfig
from model.ranker import DataSpec, build_ranker
from model.training.optimizer import LazyAdam
from transforms import features

ITEMS, L, B = 30, 7, 12


def batch(rng, width=L, rows=B):
    length = rng.integers(0, width + 1, rows)
    length[:2] = 0, width
    return {
        features.HISTORY_ITEM: tf.constant(rng.integers(1, ITEMS, (rows, width))),
        features.HISTORY_ELAPSED: tf.constant(rng.integers(0, 32, (rows, width))),
        features.HISTORY_LENGTH: tf.constant(length[:, None]),
        features.TARGET_ITEM: tf.constant(rng.integers(1, ITEMS, (rows, 1))),
        features.LABEL: tf.constant(np.arange(rows)[:, None] % 2),
    }


def small(model="imn_3p_plus", options="", **recipe):
    options = f"embedding_dim=8,head_units=8,{options}"
    config, made = presets.resolve(model, options, {"table_initial_scale": 0.5, **recipe})
    tf.keras.utils.set_random_seed(5)
    return build_ranker(config, DataSpec(ITEMS, L), made)


OPTIONS = [
    "",
    "passes=0",
    "passes=0,enhancement=false",
    "passes=10,share_attention=true",
    "num_heads=4",
    "normalization=sigmoid",
    "normalization=length",
    "feedback=false",
    "batch_norm=true,dropout=0.3,l2=0.01,head_product=false",
]


@pytest.mark.parametrize("options", OPTIONS)
def test_padding_never_changes_a_score(options):
    ranker = small(options=options)
    given = batch(np.random.default_rng(0))
    expected = ranker(given).numpy()
    assert expected.shape == (B, 1)
    assert np.isfinite(expected).all()
    longer = dict(given)
    for name in (features.HISTORY_ITEM, features.HISTORY_ELAPSED):
        longer[name] = tf.pad(given[name], [[0, 0], [0, 5]])
    np.testing.assert_allclose(ranker(longer), expected, atol=1e-6)
    garbage = dict(given)
    padded = np.arange(L) >= given[features.HISTORY_LENGTH].numpy()
    garbage[features.HISTORY_ITEM] = tf.where(padded, 7, given[features.HISTORY_ITEM])
    garbage[features.HISTORY_ELAPSED] = tf.where(padded, 31, given[features.HISTORY_ELAPSED])
    np.testing.assert_allclose(ranker(garbage), expected, atol=1e-6)


@pytest.mark.parametrize("options", OPTIONS)
def test_many_candidates_score_as_each_alone(options):
    ranker = small(options=options)
    given = batch(np.random.default_rng(1))
    candidates = np.random.default_rng(2).integers(0, ITEMS, (B, 5))
    together = ranker.score(ranker.encode(given), tf.constant(candidates)).numpy()
    for place in range(5):
        alone = ranker({**given, features.TARGET_ITEM: tf.constant(candidates[:, place])})
        np.testing.assert_allclose(together[:, place], alone[:, 0], atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("rows", [1, 3, 50])
def test_sorting_by_length_changes_no_score(options, rows):
    ranker = small(options=options)
    rng = np.random.default_rng(rows)
    given = batch(rng, rows=max(rows, 2))
    given = {name: values[:rows] for name, values in given.items()}
    candidates = tf.constant(rng.integers(0, ITEMS, (rows, 3)))
    expected = ranker.score(ranker.encode(given), candidates)
    np.testing.assert_allclose(ranker.score_by_length(given, candidates), expected, atol=1e-5)


@pytest.mark.parametrize("width", [1, 3, L, 40])
def test_histories_of_any_length_are_read(width):
    ranker = small()
    scores = ranker(batch(np.random.default_rng(0), width)).numpy()
    assert np.isfinite(scores).all()


def test_the_candidate_and_each_event_matter():
    ranker = small()
    rng = np.random.default_rng(3)
    given = batch(rng)
    given[features.HISTORY_LENGTH] = tf.fill([B, 1], tf.constant(L, tf.int64))
    base = ranker(given).numpy()
    for place in range(L):
        items = given[features.HISTORY_ITEM].numpy().copy()
        items[:, place] = items[:, place] % (ITEMS - 1) + 1
        changed = ranker({**given, features.HISTORY_ITEM: tf.constant(items)}).numpy()
        assert (np.abs(changed - base) > 1e-7).mean() > 0.9


def test_time_and_position_can_be_left_out():
    config, recipe = presets.resolve("imn_2p", "embedding_dim=8")
    ranker = build_ranker(config, DataSpec(ITEMS, L, False, False), recipe)
    assert set(ranker.encoder.tables) == {"item"}
    given = batch(np.random.default_rng(0))
    del given[features.HISTORY_ELAPSED]
    scores = ranker(given).numpy()
    turned = dict(given)
    length = given[features.HISTORY_LENGTH].numpy()[:, 0]
    turned[features.HISTORY_ITEM] = tf.reverse_sequence(given[features.HISTORY_ITEM], length, 1)
    np.testing.assert_allclose(ranker(turned), scores, atol=1e-6)


def step(ranker, given, recipe=None):
    """One step of training; gives the loss before it and the gradients."""
    recipe = recipe or TrainingConfig()
    if getattr(ranker, "optimizer", None) is None:
        ranker.optimizer = LazyAdam(recipe.learning_rate, recipe.table_learning_rate)
        ranker.optimizer.build(ranker.trainable_variables)
    with tf.GradientTape() as tape:
        loss, _ = ranker.loss_and_logits(given, training=True)
    variables = ranker.trainable_variables
    gradients = tape.gradient(loss, variables)
    ranker.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return loss, dict(zip([v.name for v in variables], gradients, strict=True))


@pytest.mark.parametrize("extra", [0, 4])
def test_table_gradients_are_sparse_and_every_weight_has_one(extra):
    ranker = small(extra_candidates=extra)
    _, gradients = step(ranker, batch(np.random.default_rng(0)))
    assert len(gradients) > 20
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert isinstance(gradient, tf.IndexedSlices) == ("table" in name), name


def test_loss_is_cross_entropy_and_extra_candidates_come_on_top():
    given = batch(np.random.default_rng(0))
    ranker = small(extra_candidates=0)
    labels = given[features.LABEL].numpy()
    logits = ranker(given).numpy()
    expected = np.mean(np.log1p(np.exp(-np.where(labels == 1, logits, -logits))))
    assert float(ranker.compute_loss(given)) == pytest.approx(expected, rel=1e-5)
    assert float(step(ranker, given)[0]) == pytest.approx(expected, rel=1e-5)
    # Of chance level while nothing is learned: log 2, and log 5 for one of five.
    fresh = small(table_initial_scale=1e-6)
    assert step(fresh, given)[0] < np.log(2) + np.log(5) + 0.05
    assert step(small(extra_candidates=4), given)[0] > expected + 0.5


def test_a_model_learns_what_a_history_says():
    """Label 1 where the target is in the same half of the items as the history."""
    rng = np.random.default_rng(0)
    recipe = TrainingConfig(learning_rate=0.01, table_learning_rate=0.02)
    ranker = small(options="dropout=0.1", **dataclasses.asdict(recipe))
    ranker.optimizer = LazyAdam(recipe.learning_rate, recipe.table_learning_rate)
    ranker.optimizer.build(ranker.trainable_variables)
    train = tf.function(lambda given: step(ranker, given)[0], autograph=False)
    losses = []
    for _ in range(60):
        given = batch(rng, rows=64)
        half = rng.integers(0, 2, 64)
        items = rng.integers(1, ITEMS // 2, (64, L)) + half[:, None] * (ITEMS // 2)
        target = rng.integers(1, ITEMS // 2, 64)
        own = rng.integers(0, 2, 64)
        given[features.HISTORY_ITEM] = tf.constant(items)
        given[features.HISTORY_LENGTH] = tf.fill([64, 1], tf.constant(L, tf.int64))
        given[features.TARGET_ITEM] = tf.constant(target + own * (ITEMS // 2))
        given[features.LABEL] = tf.constant((own == half).astype(np.int64))
        losses.append(float(train(given)))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
