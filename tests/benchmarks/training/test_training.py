"""The training benchmark: both forms are one function, and the counts are right."""

import argparse
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.peers import environment
from benchmarks.training import figures, lower_bound, measurements, processes, step_profile, steps
from benchmarks.training.benchmark import Benchmark
from benchmarks.training.naive_imn import NaiveConfig, NaiveIMN
from experiments import cache, speed
from model.imn import IMN, IMNConfig


def copy_weights(plain: NaiveIMN, shipped: IMN) -> list[tuple[tf.Variable, tf.Variable]]:
    """Copies the shipped weights to the naive layer; returns pairs of variables to compare."""
    pairs = []
    for hidden, weight, attention in zip(
        plain.hidden, plain.weight, shipped.update.attentions, strict=True
    ):
        pairs += [
            (hidden.kernel, attention.w1),
            (hidden.bias, attention.b1),
            (weight.kernel, attention.w2),
            (weight.bias, attention.b2),
        ]
    cells = [(plain.cell, shipped.update.cell)]
    if plain.steps:
        cells.append((plain.enhancement_cell, shipped.enhance.cell))
        pairs.append((plain.projection.kernel, shipped.enhance.projection.kernel))
    for own, other in cells:
        pairs += zip(own.weights, other.weights, strict=True)
    for own, other in pairs:
        own.assign(tf.reshape(other, own.shape))
    return pairs


@pytest.mark.parametrize("normalization", ["softmax", "sigmoid"])
@pytest.mark.parametrize("enhancement", [True, False])
def test_plain_form_and_shipped_form_are_one_function(enhancement, normalization):
    rng = np.random.default_rng(0)
    options = {"embedding_dim": 6, "passes": 3, "enhancement": enhancement}
    options["normalization"] = normalization
    plain, shipped = NaiveConfig(**options).block(), IMNConfig(**options).block()
    lengths = np.array([5, 3, 0])
    mask = np.arange(5) >= 5 - lengths[:, None]
    history = tf.constant((rng.normal(size=(3, 5, 6)) * mask[:, :, None]).astype(np.float32))
    targets = tf.constant(rng.normal(size=(3, 1, 6)).astype(np.float32))
    for layer in (plain, shipped):
        layer(history, tf.constant(mask), targets)
    for weight in shipped.trainable_variables:  # biases too, which start at 0
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    pairs = copy_weights(plain, shipped)
    outputs, gradients = [], []
    for layer, place in ((plain, 0), (shipped, 1)):
        with tf.GradientTape() as tape:
            tape.watch([history, targets])
            user = layer(history, tf.constant(mask), targets)
            loss = tf.reduce_sum(user * tf.reshape(tf.range(18, dtype=tf.float32), [3, 1, 6]))
        outputs.append(user)
        wanted = [history, targets, *[pair[place] for pair in pairs]]
        gradients.append(tape.gradient(loss, wanted))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)
    for name, one, other in zip(["history", "targets", *pairs], *gradients, strict=True):
        one = tf.reshape(one, other.shape)
        if name == "history":  # gradients of padding have no use
            one, other = one * mask[:, :, None], other * mask[:, :, None]
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-3)
    assert np.abs(gradients[0][0]).max() > 0.1


def test_multiply_adds_of_the_floor_by_hand():
    # B = 2, L = 5, D = 3, 4 hidden units, 1 pass, 1 step of enhancement, a head of 7.
    forward = lower_bound.forward_products(
        5, 2, 3, units=4, passes=1, enhancement_steps=1, head=(7,)
    )
    kernel = 2 * 6 * 4  # [m ; v] (6) to the bias of the hidden layer
    attention = 2 * 5 * 3 * 4 + 2 * 5 * 4 + 2 * 5 * 3
    gru = 2 * (3 * 9 + 3 * 9)
    enhancement = 2 * (3 * 3 + 6 * 9 + 3 * 9)
    head = 2 * (9 * 7 + 7 * 1)
    by_hand = kernel + attention + gru + enhancement + head
    assert sum(product.multiply_adds for product in forward) == by_hand
    assert lower_bound.multiply_adds(forward) == 3 * by_hand
    for product in forward:
        assert [each.multiply_adds for each in product.gradients()] == [product.multiply_adds] * 2


def test_the_floor_computes_its_products_and_moves_rows():
    batch = steps.batch(4, 3, 50, seed=0)
    looked_up = lower_bound.look_ups(batch)["item"]
    np.testing.assert_array_equal(
        np.sort(looked_up.rows),
        np.unique(np.concatenate([batch["history_item"].ravel(), batch["target_item"].ravel()])),
    )
    compute = lower_bound.step(4, 3, 50, 8)
    results = compute(lower_bound.look_ups(batch))
    products = 3 * len(lower_bound.forward_products(4, 3, 8))
    assert len(results) == products + 2
    graph = compute.get_concrete_function().graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert sum(kind.startswith(("MatMul", "BatchMatMul")) for kind in kinds) == products
    assert kinds.count("ResourceScatterSub") == 2


def test_ids_of_batches_are_drawn_log_uniformly_and_again_the_same():
    batch = steps.batch(100, 400, 10_000, seed=1)
    ids = batch["history_item"]
    assert ids.min() >= 2
    assert ids.max() < 10_000
    # Log-uniform: as many ids below 100 as from 100 to 10,000, about.
    assert np.mean(ids < 100) == pytest.approx(0.5, abs=0.02)
    assert batch["history_item"].shape == (400, 100)
    assert np.all(batch["history_length"] == 100)
    again = steps.batch(100, 400, 10_000, seed=1)
    assert all(np.array_equal(batch[name], again[name]) for name in batch)


def test_exponents_ratios_and_targets_from_rows():
    def row(model, length, speed, memory, fits=True):
        return {
            "model": model,
            "history_length": length,
            "examples_per_s": speed if fits else None,
            "peak_memory_mb": memory if fits else None,
            "memory_before_mb": 100,
            "out_of_memory": not fits,
            "cpu_seconds_an_example": 1 / length,
        }

    rows = [row("imn_3p_plus", length, 8000 / length, 100 + length) for length in (50, 200, 1000)]
    rows += [row("imn_3p_plus_plain", 1000, 1.6, 1), row("floor", 1000, 16.0, 1)]
    rows += [row("deepctr_din", 1000, 4.0, 1), row("fuxictr_din", 1000, 1, 1, fits=False)]
    ratios = figures.ratios(rows)
    assert ratios == {
        "imn_3p_plus / imn_3p_plus_plain @ 1000": pytest.approx(5),
        "floor / imn_3p_plus @ 1000": pytest.approx(2),
        "imn_3p_plus / deepctr_din @ 1000": pytest.approx(2),
    }
    assert set(figures.ratios(rows, "cpu")) == set(ratios)
    assert set(figures.ratios(rows, "cpu").values()) == {1.0}
    exponents = figures.exponents(rows)
    assert exponents["imn_3p_plus"]["time"] == pytest.approx(1)
    assert exponents["imn_3p_plus"]["memory_of_steps"] == pytest.approx(1)
    by_hand = math.log(1100 / 300) / math.log(5)
    assert exponents["imn_3p_plus"]["memory"] == pytest.approx(by_hand)
    met = {
        target["target"]: target["met"]
        for target in figures.targets({"ratios": ratios, "exponents": exponents})
    }
    assert met["IMN 3P+ over its naive form, L = 1000"] is True
    assert met["lower bound over IMN 3P+, L = 1000"] is False
    assert met["IMN 3P+ over the faster DIN of another library, L = 1000"] is False
    assert met["IMN 3P+ over the faster DIN of another library, L = 100"] is None


def test_out_of_memory_differs_from_other_failures():
    code = "import json; print('a word first'); print(json.dumps({'n': 1}))"
    assert processes.command([sys.executable, "-c", code], {}, 500) == {"n": 1}
    slow = "import time\nkept = []\nwhile True:\n    kept.append(b'x' * 2**20); time.sleep(1e-3)"
    with pytest.raises(processes.OutOfMemory):
        processes.command([sys.executable, "-c", slow], {}, 60)
    with pytest.raises(RuntimeError, match="no such thing"):
        processes.command([sys.executable, "-c", "raise ValueError('no such thing')"], {}, 500)
    with pytest.raises(processes.OutOfMemory):
        processes.command([sys.executable, "-c", "raise MemoryError"], {}, 500)


def test_a_lack_of_memory_is_a_result_and_any_other_error_a_failure(tmp_path, monkeypatch):
    def measure(self, measurement):
        if measurement.model == "din":
            raise processes.OutOfMemory
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(Benchmark, "_step", measure)
    options = argparse.Namespace(
        models=["din", "sasrec"], lengths=[5], rounds=1, seconds=0.1, threads=1
    )
    benchmark = Benchmark(options, tmp_path)
    rows, skipped = benchmark.rows()
    assert rows == []
    assert set(skipped) == {"din", "sasrec"}
    assert "does not fit into memory" in skipped["din"]
    assert benchmark.failed == ["sasrec at 5: no such kernel"]


def test_a_measurement_is_kept_until_what_it_depends_on_changes(tmp_path):
    runs = []

    def measure():
        runs.append(1)
        return {"n": len(runs)}

    cells = cache.ResultCache(tmp_path)
    assert cells.get("one", {"a": (1, 2)}, measure) == {"n": 1}
    assert cache.ResultCache(tmp_path).get("one", {"a": (1, 2)}, measure) == {"n": 1}
    assert cells.get("one", {"a": (1, 3)}, measure) == {"n": 2}
    assert cache.code("benchmarks/training/steps.py") != cache.code(
        "benchmarks/training/lower_bound.py"
    )


def test_an_environment_that_is_missing_says_so(tmp_path, monkeypatch):
    with pytest.raises(environment.NotSetUp, match="not set up"):
        environment.python("deepctr", str(tmp_path), only_existing=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(environment.NotSetUp, match="is not installed"):
        environment.python("fuxictr", str(tmp_path))


@pytest.mark.parametrize("model", ["imn_3p_plus_plain", "imn_3p_plus_recipe", "din"])
def test_steps_of_rows_train(model):
    ranker, recipe = measurements.build(model, 6, 40)
    assert bool(recipe.extra_candidates) == (model == "imn_3p_plus_recipe")
    batch = measurements.constants(steps.batch(6, 8, 40, seed=0))
    step = speed.training_step(ranker, recipe, batch)
    losses = [float(step(batch)) for _ in range(12)]
    assert losses[-1] < losses[0]


def test_the_profile_names_the_kernels_of_a_product(tmp_path):
    tf.function(lambda x: x @ x)(tf.ones([8, 8]))
    with tf.profiler.experimental.Profile(str(tmp_path)):
        tf.function(lambda x: x @ x)(tf.ones([64, 64]))
    files = [str(file) for file in tmp_path.rglob("*.xplane.pb")]
    time, calls = step_profile._kernels(files)
    product = [kind for kind in calls if "MatMul" in kind]
    assert product
    assert time[product[0]] > 0


def test_the_command_measures_and_reports(tmp_path):
    command = [sys.executable, "-m", "benchmarks.training", "--models", "youtube_dnn", "floor"]
    command += ["deepctr_din", "--no-set-up", "--lengths", "5", "9", "--rounds", "1"]
    command += ["--seconds", "0.05", "--output", str(tmp_path), "--cache", str(tmp_path / "cache")]
    variables = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
    subprocess.run(command, check=True, env=variables, capture_output=True)
    result = json.loads((tmp_path / "training.json").read_text())
    rows = {(row["model"], row["history_length"]): row for row in result["rows"]}
    assert set(rows) == {(name, length) for name in ("youtube_dnn", "floor") for length in (5, 9)}
    assert all(row["examples_per_s"] > 0 and row["peak_memory_mb"] > 100 for row in rows.values())
    assert "not set up" in result["skipped"]["deepctr_din"]
    assert "lower bound" in (tmp_path / "training.md").read_text()
    assert (tmp_path / "training.png").stat().st_size > 10_000
