"""The ranker: padding, candidates, lengths, loss, gradients and seeds of a training step."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from model import presets
from model.configs import ModelConfig, TrainingConfig
from model.layers.block import SequenceBlock
from model.ranker import build_ranker
from model.scorer import DataSpec
from tests.support.batches import ITEMS, B, L, RecordingAdam, batch, step
from transforms import features


def small(model="imn_3p_plus", options="", **recipe):
    options = f"embedding_dim=8,head_units=8,{options}"
    config, recipe = presets.resolve(model, options, {"table_initial_scale": 0.5, **recipe})
    tf.keras.utils.set_random_seed(5)
    return build_ranker(config, DataSpec(ITEMS, L), recipe)


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
    inputs = batch(np.random.default_rng(0))
    expected = ranker(inputs).numpy()
    assert expected.shape == (B, 1)
    assert np.isfinite(expected).all()
    longer = dict(inputs)
    for name in (features.HISTORY_ITEM, features.HISTORY_ELAPSED):
        longer[name] = tf.pad(inputs[name], [[0, 0], [0, 5]])
    np.testing.assert_allclose(ranker(longer), expected, atol=1e-6)
    garbage = dict(inputs)
    padded = np.arange(L) >= inputs[features.HISTORY_LENGTH].numpy()
    garbage[features.HISTORY_ITEM] = tf.where(padded, 7, inputs[features.HISTORY_ITEM])
    garbage[features.HISTORY_ELAPSED] = tf.where(padded, 31, inputs[features.HISTORY_ELAPSED])
    np.testing.assert_allclose(ranker(garbage), expected, atol=1e-6)


@pytest.mark.parametrize("options", OPTIONS)
def test_many_candidates_score_as_each_alone(options):
    ranker = small(options=options)
    inputs = batch(np.random.default_rng(1))
    candidates = np.random.default_rng(2).integers(0, ITEMS, (B, 5))
    together = ranker.score(ranker.encode(inputs), tf.constant(candidates)).numpy()
    for column in range(5):
        alone = ranker({**inputs, features.TARGET_ITEM: tf.constant(candidates[:, column])})
        np.testing.assert_allclose(together[:, column], alone[:, 0], atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("rows", [1, 3, 50])
def test_score_by_length_is_score(options, rows):
    ranker = small(options=options)
    rng = np.random.default_rng(rows)
    inputs = batch(rng, rows=max(rows, 2))
    inputs = {name: values[:rows] for name, values in inputs.items()}
    candidates = tf.constant(rng.integers(0, ITEMS, (rows, 3)))
    expected = ranker.score(ranker.encode(inputs), candidates)
    np.testing.assert_allclose(ranker.score_by_length(inputs, candidates), expected, atol=1e-5)


@pytest.mark.parametrize("width", [1, 3, L, 40])
def test_histories_of_any_width_have_scores(width):
    ranker = small()
    scores = ranker(batch(np.random.default_rng(0), width=width)).numpy()
    assert np.isfinite(scores).all()


def test_each_event_changes_the_score():
    ranker = small()
    rng = np.random.default_rng(3)
    inputs = batch(rng)
    inputs[features.HISTORY_LENGTH] = tf.fill([B, 1], tf.constant(L, tf.int64))
    base = ranker(inputs).numpy()
    for column in range(L):
        items = inputs[features.HISTORY_ITEM].numpy().copy()
        items[:, column] = items[:, column] % (ITEMS - 1) + 1
        changed = ranker({**inputs, features.HISTORY_ITEM: tf.constant(items)}).numpy()
        assert (np.abs(changed - base) > 1e-7).mean() > 0.9


def test_time_and_position_can_be_left_out():
    config, recipe = presets.resolve("imn_2p", "embedding_dim=8")
    ranker = build_ranker(config, DataSpec(ITEMS, L, False, False), recipe)
    assert set(ranker.encoder.tables) == {"item"}
    inputs = batch(np.random.default_rng(0))
    del inputs[features.HISTORY_ELAPSED]
    scores = ranker(inputs).numpy()
    reversed_order = dict(inputs)
    length = inputs[features.HISTORY_LENGTH].numpy()[:, 0]
    items = tf.reverse_sequence(inputs[features.HISTORY_ITEM], length, 1)
    reversed_order[features.HISTORY_ITEM] = items
    np.testing.assert_allclose(ranker(reversed_order), scores, atol=1e-6)


@pytest.mark.parametrize("extra", [0, 4])
def test_table_gradients_are_sparse_and_every_weight_has_one(extra):
    ranker = small(extra_candidates=extra)
    _, gradients = step(ranker, batch(np.random.default_rng(0)))
    assert len(gradients) > 20
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert isinstance(gradient, tf.IndexedSlices) == ("table" in name), name


def test_the_loss_is_cross_entropy_plus_that_of_the_extra_candidates():
    inputs = batch(np.random.default_rng(0))
    ranker = small(extra_candidates=0)
    labels = inputs[features.LABEL].numpy()
    logits = ranker(inputs).numpy()
    expected = np.mean(np.log1p(np.exp(-np.where(labels == 1, logits, -logits))))
    assert float(ranker.loss_and_logits(inputs)[0].total) == pytest.approx(expected, rel=1e-5)
    assert float(step(ranker, inputs)[0]) == pytest.approx(expected, rel=1e-5)
    # A model that has learned nothing: log 2 for two labels, log 5 for one of five candidates.
    fresh = small(table_initial_scale=1e-6)
    assert step(fresh, inputs)[0] < np.log(2) + np.log(5) + 0.05
    assert step(small(extra_candidates=4), inputs)[0] > expected + 0.5


def test_a_model_learns_from_the_history():
    """The label is 1 if the target is in the same half of the items as the history."""
    rng = np.random.default_rng(0)
    recipe = TrainingConfig(learning_rate=0.01, table_learning_rate=0.02)
    ranker = small(options="dropout=0.1", **dataclasses.asdict(recipe))
    ranker.optimizer = RecordingAdam(recipe.learning_rate, recipe.table_learning_rate)
    ranker.optimizer.build(ranker.trainable_variables)
    train = tf.function(lambda inputs: step(ranker, inputs)[0], autograph=False)
    losses = []
    for _ in range(60):
        inputs = batch(rng, rows=64)
        half = rng.integers(0, 2, 64)
        items = rng.integers(1, ITEMS // 2, (64, L)) + half[:, None] * (ITEMS // 2)
        target = rng.integers(1, ITEMS // 2, 64)
        target_half = rng.integers(0, 2, 64)
        inputs[features.HISTORY_ITEM] = tf.constant(items)
        inputs[features.HISTORY_LENGTH] = tf.fill([64, 1], tf.constant(L, tf.int64))
        inputs[features.TARGET_ITEM] = tf.constant(target + target_half * (ITEMS // 2))
        inputs[features.LABEL] = tf.constant((target_half == half).astype(np.int64))
        losses.append(float(train(inputs)))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


@dataclasses.dataclass(frozen=True)
class DropoutConfig(ModelConfig):
    """A block whose output is its dropout mask, so that a test can read the masks."""

    def block(self):
        return Dropout(self)


class Dropout(SequenceBlock):
    def __init__(self, config):
        super().__init__(config)
        self.masks = []

    def call(self, history, mask, targets, training=False, seed=None):
        ones = tf.ones([tf.shape(history)[0], 1, history.shape[-1]])
        if seed is None:
            return ones
        dropped = tf.nn.experimental.stateless_dropout(ones, 0.5, seed=seed)
        self.masks.append(dropped.numpy())
        return dropped


@pytest.mark.parametrize("extra", [0, 4])
def test_dropout_draws_another_mask_for_each_part_of_a_batch_and_each_step(extra):
    """Positive and negative rows, groups of lengths, and steps."""
    recipe = TrainingConfig(extra_candidates=extra)
    ranker = build_ranker(DropoutConfig(embedding_dim=64), DataSpec(ITEMS, L), recipe)
    inputs = batch(np.random.default_rng(0), rows=8)
    for _ in range(2):
        step(ranker, inputs)
    masks = ranker.block.masks
    assert [mask.shape for mask in masks] == [(2, 1, 64)] * 8
    assert len({mask.tobytes() for mask in masks}) == 8
    # The same seed, step and batch draw the same masks again: a resumed training needs that.
    again = build_ranker(DropoutConfig(embedding_dim=64), DataSpec(ITEMS, L), recipe)
    step(again, inputs)
    np.testing.assert_array_equal(again.block.masks, masks[:4])


def test_a_block_without_the_contract_is_refused():
    @dataclasses.dataclass(frozen=True)
    class PlainConfig(ModelConfig):
        def block(self):
            return tf.keras.layers.Dense(3)

    with pytest.raises(TypeError, match=r"SequenceBlock\. Received: Dense"):
        build_ranker(PlainConfig(), DataSpec(ITEMS, L), TrainingConfig())


def test_a_call_does_not_pretend_to_train():
    ranker, inputs = small(), batch(np.random.default_rng(0))
    with pytest.raises(ValueError, match="`training` must be False"):
        ranker(inputs, training=True)
    assert ranker(inputs, training=False).shape == ranker(inputs).shape
