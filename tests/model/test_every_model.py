"""What must hold for every row of the table of models, whatever it computes."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from model import presets
from model.export.signatures import ServingModule
from model.ranker import DataSpec, build_ranker
from model.training.optimizer import LazyAdam
from tests.support.raw_examples import NOW, example, raw_sample
from transforms import features

ITEMS, L, B = 30, 7, 12
MODELS = [name for name in presets.PRESETS if name not in ("imn_2p", "imn_3p")]


def batch(rng, rows=B, width=L):
    length = rng.integers(0, width + 1, rows)
    length[:2] = 0, width
    return {
        features.HISTORY_ITEM: tf.constant(rng.integers(1, ITEMS, (rows, width))),
        features.HISTORY_ELAPSED: tf.constant(rng.integers(0, 32, (rows, width))),
        features.HISTORY_LENGTH: tf.constant(length[:, None]),
        features.TARGET_ITEM: tf.constant(rng.integers(1, ITEMS, (rows, 1))),
        features.LABEL: tf.constant(np.arange(rows)[:, None] % 2),
    }


def made(model, items=ITEMS, width=L):
    config, recipe = presets.resolve(
        model, "embedding_dim=8,head_units=8", {"table_initial_scale": 0.5}
    )
    tf.keras.utils.set_random_seed(5)
    return build_ranker(config, DataSpec(items, width), recipe)


def fit(ranker, given, rate=1e-2):
    """One step of training; gives loss and gradients by the variable's name."""
    if getattr(ranker, "optimizer", None) is None:
        ranker.optimizer = LazyAdam(rate, rate)
        ranker.optimizer.build(ranker.trainable_variables)
    with tf.GradientTape() as tape:
        loss, _ = ranker.loss_and_logits(given, training=True)
        loss = tf.add_n([loss, *ranker.losses])
    variables = ranker.trainable_variables
    gradients = tape.gradient(loss, variables)
    ranker.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return float(loss), dict(zip([v.name for v in variables], gradients, strict=True))


@pytest.mark.parametrize("model", MODELS)
def test_padding_never_changes_a_score(model):
    ranker = made(model)
    given = batch(np.random.default_rng(0))
    expected = ranker(given).numpy()
    assert np.isfinite(expected).all()
    assert expected.std() > 1e-4
    longer, garbage = dict(given), dict(given)
    padded = np.arange(L) >= given[features.HISTORY_LENGTH].numpy()
    for name, junk in ((features.HISTORY_ITEM, 7), (features.HISTORY_ELAPSED, 31)):
        longer[name] = tf.pad(given[name], [[0, 0], [0, 5]])
        garbage[name] = tf.where(padded, junk, given[name])
    np.testing.assert_allclose(ranker(longer), expected, atol=1e-5)
    np.testing.assert_allclose(ranker(garbage), expected, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_a_score_depends_on_nothing_else_in_the_request(model):
    """Not on other candidates, not on other rows, not on being sorted by length."""
    ranker = made(model)
    rng = np.random.default_rng(1)
    given = batch(rng)
    fit(ranker, given)  # so that moving averages are not what they started as
    candidates = tf.constant(rng.integers(0, ITEMS, (B, 5)))
    together = ranker.score(ranker.encode(given), candidates).numpy()
    np.testing.assert_allclose(ranker.score_by_length(given, candidates), together, atol=1e-5)
    for row in range(B):
        alone = {name: values[row : row + 1] for name, values in given.items()}
        for place in range(0, 5, 2):
            alone[features.TARGET_ITEM] = candidates[row : row + 1, place : place + 1]
            np.testing.assert_allclose(ranker(alone)[0, 0], together[row, place], atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_a_step_reaches_every_weight_and_keeps_tables_sparse(model):
    ranker = made(model)
    loss, gradients = fit(ranker, batch(np.random.default_rng(0)))
    assert np.isfinite(loss)
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert isinstance(gradient, tf.IndexedSlices) == ("table" in name), name
        assert np.isfinite(tf.convert_to_tensor(gradient)).all(), name


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["empty histories", "positives only", "negatives only", "one row"])
def test_a_step_survives(model, kind):
    ranker = made(model)
    given = batch(np.random.default_rng(0))
    if kind == "empty histories":
        given[features.HISTORY_LENGTH] = tf.zeros([B, 1], tf.int64)
    elif kind == "one row":
        given = {name: values[:1] for name, values in given.items()}
    else:
        label = tf.constant(int(kind == "positives only"), tf.int64)
        given[features.LABEL] = tf.fill([B, 1], label)
    loss, _ = fit(ranker, given)
    assert np.isfinite(loss)
    assert np.isfinite(ranker(batch(np.random.default_rng(2))).numpy()).all()


@pytest.mark.parametrize("model", MODELS)
def test_a_model_learns_a_batch_by_heart(model):
    ranker = made(model)
    given = batch(np.random.default_rng(4), rows=32)
    step = tf.function(lambda: fit_in_graph(ranker, given), autograph=False, input_signature=[])
    fit(ranker, given, 0.02)
    if model == "seed":  # its own recipe has no other rate for tables
        ranker.optimizer.learning_rate = 0.02
    losses = [float(step()) for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.7 * losses[0]


def fit_in_graph(ranker, given):
    with tf.GradientTape() as tape:
        loss, _ = ranker.loss_and_logits(given, training=True)
    variables = ranker.trainable_variables
    ranker.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    return loss


def test_every_export_answers_in_a_fresh_process_as_its_model_did(world, tmp_path):
    """After a step of training; by both signatures, in a process without this code."""
    transform = tft.TFTransformOutput(world.transform)
    items = 1 + world.oov_buckets + transform.vocabulary_size_by_name(features.ITEM_VOCABULARY)
    histories = [[b"i001", b"i002"], [], [b"i010"] * 6, [b"never", b"i004"]]
    candidates = [b"i007", b"unknown", b"i030"]
    examples = [
        [example(raw_sample(world.length, history, each)) for each in candidates]
        for history in histories
    ]
    expected = {}
    for model in presets.PRESETS:
        ranker = made(model, items, world.length)
        fit(ranker, batch(np.random.default_rng(0), rows=32, width=world.length))
        layer = transform.transform_features_layer()
        spec = transform.raw_feature_spec()
        flat = tf.io.parse_example([each for row in examples for each in row], spec)
        logits = ranker(layer(flat)).numpy()
        expected[model] = (1 / (1 + np.exp(-logits))).reshape(4, 3)
        ServingModule(ranker, transform).save(str(tmp_path / model))
    width = max(map(len, histories))
    rank = {
        "history_item": [[b.decode() for b in h] + [""] * (width - len(h)) for h in histories],
        "history_time": [
            [NOW - day * 86_400 for day in range(len(h), 0, -1)] + [0] * (width - len(h))
            for h in histories
        ],
        "history_length": [len(history) for history in histories],
        "request_time": [NOW] * len(histories),
        "candidates": [[each.decode() for each in candidates]] * len(histories),
    }
    rows = [each.hex() for row in examples for each in row]
    (tmp_path / "given.json").write_text(json.dumps({"rank": rank, "examples": rows}))
    code = (
        "import json, os, sys, tensorflow as tf\n"
        "given = json.load(open('given.json'))\n"
        "rows = tf.constant([bytes.fromhex(row) for row in given['examples']])\n"
        "text = ('history_item', 'candidates')\n"
        "made = {n: tf.constant(v, tf.string if n in text else tf.int64)\n"
        "        for n, v in given['rank'].items()}\n"
        "none = {'candidates': tf.zeros([4, 0], tf.string)}\n"
        "found = {}\n"
        "for name in sorted(os.listdir('.')):\n"
        "    if os.path.isdir(name):\n"
        "        model = tf.saved_model.load(name)\n"
        "        found[name] = [\n"
        "            model.signatures['serving_default'](examples=rows)['score'],\n"
        "            model.signatures['rank'](**made)['scores'],\n"
        "            model.signatures['rank'](**made | none)['scores'],\n"
        "        ]\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'model']\n"
        "found = {n: [each.numpy().tolist() for each in of] for n, of in found.items()}\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert sorted(found) == sorted(presets.PRESETS)
    for model, (scores, ranked, of_none) in found.items():
        assert of_none == [[]] * 4  # a retrieval that found nothing is no error of the ranker's
        np.testing.assert_allclose(np.reshape(scores, (4, 3)), expected[model], atol=1e-6)
        np.testing.assert_allclose(ranked, expected[model], atol=1e-6)
