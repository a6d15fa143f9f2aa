"""Properties that every preset must have."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from model import presets
from model.export.signatures import ServingModule
from model.ranker import build_ranker
from model.scorer import DataSpec
from tests.support.batches import ITEMS, B, L, batch, step
from tests.support.raw_examples import NOW, example, raw_sample
from transforms import features

MODELS = [name for name in presets.PRESETS if name not in ("imn_2p", "imn_3p")]


def build(model, items=ITEMS, width=L):
    config, recipe = presets.resolve(
        model, "embedding_dim=8,head_units=8", {"table_initial_scale": 0.5}
    )
    tf.keras.utils.set_random_seed(5)
    return build_ranker(config, DataSpec(items, width), recipe)


@pytest.mark.parametrize("model", MODELS)
def test_padding_never_changes_a_score(model):
    ranker = build(model)
    inputs = batch(np.random.default_rng(0))
    expected = ranker(inputs).numpy()
    assert np.isfinite(expected).all()
    assert expected.std() > 1e-4
    longer, garbage = dict(inputs), dict(inputs)
    padded = np.arange(L) >= inputs[features.HISTORY_LENGTH].numpy()
    for name, junk in ((features.HISTORY_ITEM, 7), (features.HISTORY_ELAPSED, 31)):
        longer[name] = tf.pad(inputs[name], [[0, 0], [0, 5]])
        garbage[name] = tf.where(padded, junk, inputs[name])
    np.testing.assert_allclose(ranker(longer), expected, atol=1e-5)
    np.testing.assert_allclose(ranker(garbage), expected, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_a_score_does_not_depend_on_the_rest_of_the_request(model):
    """On other candidates, on other rows, or on the sorting by length."""
    ranker = build(model)
    rng = np.random.default_rng(1)
    inputs = batch(rng)
    step(ranker, inputs)  # changes the moving averages of BatchNormalization
    candidates = tf.constant(rng.integers(0, ITEMS, (B, 5)))
    together = ranker.score(ranker.encode(inputs), candidates).numpy()
    np.testing.assert_allclose(ranker.score_by_length(inputs, candidates), together, atol=1e-5)
    for row in range(B):
        alone = {name: values[row : row + 1] for name, values in inputs.items()}
        for column in range(0, 5, 2):
            alone[features.TARGET_ITEM] = candidates[row : row + 1, column : column + 1]
            np.testing.assert_allclose(ranker(alone)[0, 0], together[row, column], atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_every_weight_has_a_gradient_and_those_of_tables_are_sparse(model):
    ranker = build(model)
    loss, gradients = step(ranker, batch(np.random.default_rng(0)))
    assert np.isfinite(loss)
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert isinstance(gradient, tf.IndexedSlices) == ("table" in name), name
        assert np.isfinite(tf.convert_to_tensor(gradient)).all(), name


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["empty histories", "positives only", "negatives only", "one row"])
def test_a_step_on_an_unusual_batch_is_finite(model, kind):
    ranker = build(model)
    inputs = batch(np.random.default_rng(0))
    if kind == "empty histories":
        inputs[features.HISTORY_LENGTH] = tf.zeros([B, 1], tf.int64)
    elif kind == "one row":
        inputs = {name: values[:1] for name, values in inputs.items()}
    else:
        label = tf.constant(int(kind == "positives only"), tf.int64)
        inputs[features.LABEL] = tf.fill([B, 1], label)
    loss, _ = step(ranker, inputs)
    assert np.isfinite(loss)
    assert np.isfinite(ranker(batch(np.random.default_rng(2))).numpy()).all()


@pytest.mark.parametrize("model", MODELS)
def test_a_model_fits_one_batch(model):
    ranker = build(model)
    inputs = batch(np.random.default_rng(4), rows=32)
    step(ranker, inputs, 0.02)
    train = tf.function(lambda: ranker.update_weights(inputs)[0].total, autograph=False)
    losses = [float(train()) for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.7 * losses[0]


def test_every_export_scores_as_its_model_in_a_process_without_this_code(world, tmp_path):
    """After a training step, by `serving_default` and by `rank`."""
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
        ranker = build(model, items, world.length)
        step(ranker, batch(np.random.default_rng(0), rows=32, width=world.length))
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
    (tmp_path / "requests.json").write_text(json.dumps({"rank": rank, "examples": rows}))
    code = (
        "import json, os, sys, tensorflow as tf\n"
        "requests = json.load(open('requests.json'))\n"
        "rows = tf.constant([bytes.fromhex(row) for row in requests['examples']])\n"
        "text = ('history_item', 'candidates')\n"
        "rank = {n: tf.constant(v, tf.string if n in text else tf.int64)\n"
        "        for n, v in requests['rank'].items()}\n"
        "none = {'candidates': tf.zeros([4, 0], tf.string)}\n"
        "answers = {}\n"
        "for name in sorted(os.listdir('.')):\n"
        "    if os.path.isdir(name):\n"
        "        model = tf.saved_model.load(name)\n"
        "        answers[name] = [\n"
        "            model.signatures['serving_default'](examples=rows)['score'],\n"
        "            model.signatures['rank'](**rank)['scores'],\n"
        "            model.signatures['rank'](**rank | none)['scores'],\n"
        "        ]\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'model']\n"
        "answers = {n: [v.numpy().tolist() for v in values] for n, values in answers.items()}\n"
        "print(json.dumps(answers))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    answers = json.loads(done.stdout.splitlines()[-1])
    assert sorted(answers) == sorted(presets.PRESETS)
    for model, (scores, ranked, without_candidates) in answers.items():
        assert without_candidates == [[]] * 4
        np.testing.assert_allclose(np.reshape(scores, (4, 3)), expected[model], atol=1e-6)
        np.testing.assert_allclose(ranked, expected[model], atol=1e-6)
