"""DIN against its equations, written out a row and an event at a time."""

import numpy as np
import pytest
import tensorflow as tf

from model.baselines.dice import Dice
from model.baselines.din import ActivationUnit, DINConfig

B, L, K, D = 3, 5, 2, 4
LENGTHS = [5, 2, 0]


def given(rng):
    mask = np.arange(L) >= L - np.array(LENGTHS)[:, None]
    history = rng.normal(size=(B, L, D)) * mask[:, :, None]
    return tf.constant(history), tf.constant(mask), tf.constant(rng.normal(size=(B, K, D)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("normalization", ["none", "softmax"])
@pytest.mark.parametrize("activation", ["sigmoid", "dice"])
def test_the_activation_unit_is_a_perceptron_on_event_and_candidate(
    float64, activation, normalization
):
    rng = np.random.default_rng(0)
    history, mask, targets = given(rng)
    unit = ActivationUnit(
        DINConfig(attention_layers=(6, 3), activation=activation, normalization=normalization)
    )
    unit(history, mask, targets)
    for weight in unit.weights:
        values = rng.normal(size=weight.shape)
        weight.assign(np.abs(values) if "variance" in weight.name else values)
    got = unit(history, mask, targets).numpy()
    weights = unit.attention_weights(history, mask, targets).numpy()

    def activated(s, layer):
        if activation == "sigmoid":
            return sigmoid(s)
        p = sigmoid((s - layer.mean.numpy()) / np.sqrt(layer.variance.numpy() + layer.epsilon))
        return p * s + (1 - p) * layer.alpha.numpy() * s

    w1 = np.concatenate(list(unit.kernel.numpy()))  # on [v, e, v − e, v ∘ e]
    for b in range(B):
        for k in range(K):
            v, scores, events = targets[b, k].numpy(), [], []
            for j in range(L - LENGTHS[b], L):
                e = history[b, j].numpy()
                x = np.concatenate([v, e, v - e, v * e])
                x = activated(x @ w1 + unit.bias.numpy(), unit.activations[0])
                kernel, bias = (weight.numpy() for weight in unit.dense[0].weights)
                x = activated(x @ kernel + bias, unit.activations[1])
                kernel, bias = (weight.numpy() for weight in unit.last.weights)
                scores.append((x @ kernel + bias)[0])
                events.append(e)
            if normalization == "softmax" and scores:
                scores = np.exp(scores) / np.sum(np.exp(scores))
            expected = sum((a * e for a, e in zip(scores, events, strict=True)), np.zeros(D))
            np.testing.assert_allclose(got[b, k], expected, atol=1e-10)
            padded = np.concatenate([np.zeros(L - LENGTHS[b]), scores])
            np.testing.assert_allclose(weights[b, 0, k], padded, atol=1e-10)


def test_dice_uses_the_batch_while_training_and_what_it_remembers_afterwards(float64):
    rng = np.random.default_rng(1)
    dice = Dice(momentum=0.9)
    rows = rng.normal(2.0, 3.0, (50, 2))
    dice(tf.constant(rows))
    dice.alpha.assign([0.5, -0.25])
    trained = dice(tf.constant(rows), training=True).numpy()
    p = sigmoid((rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-8))
    np.testing.assert_allclose(trained, p * rows + (1 - p) * [0.5, -0.25] * rows, atol=1e-10)
    np.testing.assert_allclose(dice.mean, 0.1 * rows.mean(0), atol=1e-10)
    np.testing.assert_allclose(dice.variance, 0.9 + 0.1 * rows.var(0), atol=1e-10)
    served = dice(tf.constant(rows)).numpy()
    p = sigmoid((rows - dice.mean.numpy()) / np.sqrt(dice.variance.numpy() + 1e-8))
    np.testing.assert_allclose(served, p * rows + (1 - p) * [0.5, -0.25] * rows, atol=1e-10)
    np.testing.assert_allclose(dice(tf.constant(rows[:1]))[0], served[0], atol=1e-12)


def test_dice_without_rows_remembers_what_it_knew(float64):
    dice = Dice()
    dice(tf.zeros([2, 3], tf.float64))
    assert dice(tf.zeros([0, 3], tf.float64), training=True).shape == (0, 3)
    np.testing.assert_array_equal(dice.mean, np.zeros(3))
    np.testing.assert_array_equal(dice.variance, np.ones(3))


def test_an_activation_unit_without_a_hidden_layer_is_refused():
    with pytest.raises(ValueError, match="`attention_layers` must name at least one hidden"):
        DINConfig(attention_layers=())
