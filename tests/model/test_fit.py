"""`compile` and `fit` of Keras run the step of the trainer, with metrics and callbacks."""

import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from model import presets
from model.ranker import build_ranker
from model.scorer import DataSpec
from model.training import data, metrics
from model.training.embedding_l2 import EmbeddingL2, item_counts
from model.training.optimizer import LazyAdam
from tests.support.trainings import RECIPE, train
from transforms import features

OPTIONS = {
    "imn_2p": "passes=1,embedding_dim=8,head_units=8,dropout=0.1",
    "din": "embedding_dim=8,head_units=8,dropout=0.1",
}


@pytest.fixture(scope="module", name="datasets")
def fixture_datasets(world):
    """Batches of the world's train and eval split."""
    train_files, eval_files, spec = files(world)
    return (
        data.training_batches(train_files, spec, RECIPE["batch_size"], 0, 0),
        data.evaluation_batches(eval_files, spec, 64),
    )


def files(world):
    """Files of the train and eval split, and the features to parse."""
    return (
        data.files_of([os.path.join(world.train, "*")], "train"),
        data.files_of([os.path.join(world.eval, "*")], "eval"),
        tft.TFTransformOutput(world.transform).transformed_feature_spec(),
    )


def compiled(world, rate=0.01, model="imn_2p", **recipe):
    """A compiled ranker as `run_fn` would build it for the same settings."""
    config, resolved = presets.resolve(model, OPTIONS[model], RECIPE | recipe)
    vocabulary = tft.TFTransformOutput(world.transform).vocabulary_size_by_name(
        features.ITEM_VOCABULARY
    )
    tf.keras.utils.set_random_seed(0)
    ranker = build_ranker(
        config, DataSpec(1 + world.oov_buckets + vocabulary, world.length), resolved
    )
    ranker.compile(
        LazyAdam(rate, resolved.table_learning_rate),
        metrics=[tf.keras.metrics.AUC(from_logits=True, name="auc")],
    )
    return ranker


def scored(ranker, dataset):
    pairs = [(rows[features.LABEL].numpy(), ranker(rows).numpy()) for rows in dataset]
    return tuple(np.concatenate(values).reshape(-1) for values in zip(*pairs, strict=True))


def test_fit_with_callbacks_learns_and_its_checkpoint_is_the_best_epoch(world, datasets, tmp_path):
    train_batches, eval_batches = datasets
    path = str(tmp_path / "best.weights.h5")
    ranker = compiled(world)
    history = ranker.fit(
        train_batches,
        validation_data=eval_batches,
        epochs=3,
        verbose=0,
        callbacks=[
            tf.keras.callbacks.EarlyStopping("val_auc", patience=2, mode="max"),
            tf.keras.callbacks.ModelCheckpoint(
                path, "val_auc", mode="max", save_best_only=True, save_weights_only=True
            ),
        ],
    ).history
    assert set(history) == {"loss", "auc", "val_loss", "val_auc"}
    assert max(history["val_auc"]) > 0.75
    assert history["loss"][-1] < history["loss"][0]
    best = compiled(world)
    best.load_weights(path)
    # Against exact metrics in NumPy; Keras' AUC has 200 thresholds.
    labels, logits = scored(best, eval_batches)
    epoch = int(np.argmax(history["val_auc"]))
    assert history["val_loss"][epoch] == pytest.approx(metrics.log_loss(labels, logits), rel=1e-5)
    assert history["val_auc"][epoch] == pytest.approx(metrics.auc(labels, logits), abs=5e-3)


def test_early_stopping_ends_a_fit_that_cannot_improve(world, datasets):
    ranker = compiled(world, rate=0.0, table_learning_rate=0.0)
    stop = tf.keras.callbacks.EarlyStopping("val_loss", patience=2)
    history = ranker.fit(
        datasets[0].take(2), validation_data=datasets[1], epochs=9, verbose=0, callbacks=[stop]
    )
    assert len(history.history["loss"]) == 3


@pytest.mark.parametrize("model", ["imn_2p", "din"])
def test_fit_takes_the_steps_of_the_trainer(world, tmp_path, model):
    """One epoch on the same batches, with dropout and, for DIN, with `table_l2`."""
    ranker = compiled(world, model=model)
    train_files, _, spec = files(world)
    if model == "din":
        counts = item_counts(train_files, spec, ranker.encoder.num_items)
        ranker.embedding_l2 = EmbeddingL2(0.01, counts)
    # As a list, because `fit` starts an iterator that it does not use, and the next one shuffles
    # in another order.
    dataset = data.training_batches(train_files, spec, RECIPE["batch_size"], seed=0, epoch=0)
    batches = list(dataset)
    ranker.fit(
        tf.data.Dataset.from_generator(
            lambda: iter(batches), output_signature=dataset.element_spec
        ),
        verbose=0,
    )
    recipe = RECIPE | {"epochs": 1, "evaluations_per_epoch": 1}
    options = {"model_options": OPTIONS[model], "recipe": recipe, "retrieval": 0}
    expected = train(world, tmp_path, model=model, **options)
    for got, wanted in zip(ranker.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_metrics_are_means_over_samples_not_over_batches(world, datasets):
    """The last batch is smaller than the others."""
    ranker = compiled(world)
    sizes = [len(rows[features.LABEL]) for rows in datasets[1]]
    assert sizes[-1] < sizes[0]
    labels, logits = scored(ranker, datasets[1])
    got = ranker.evaluate(datasets[1], verbose=0, return_dict=True)
    assert got["loss"] == pytest.approx(metrics.log_loss(labels, logits), rel=1e-5)
    # Metrics start again with each call, and are no weights of the model.
    assert ranker.evaluate(datasets[1], verbose=0, return_dict=True) == got
    assert len(ranker.get_weights()) == len(ranker.trainable_variables)
