"""Memory update, enhancement and head against NumPy, with a GRU written out."""

import numpy as np
import pytest
import tensorflow as tf

from model.layers.enhancement import MemoryEnhancement
from model.layers.head import Head
from model.layers.initializers import IdentityCandidateKernel
from model.layers.memory import MemoryUpdate

B, L, K, D = 3, 4, 2, 6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(cell, x, h):
    """One step, reset gate applied after the product (cuDNN's form, Keras' default)."""
    kernel, recurrent, bias = (weight.numpy() for weight in cell.weights)
    width = h.shape[-1]
    xz, xr, xh = np.split(x @ kernel + bias[0], [width, 2 * width], axis=-1)
    hz, hr, hh = np.split(h @ recurrent + bias[1], [width, 2 * width], axis=-1)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    return z * h + (1 - z) * np.tanh(xh + r * hh)


def weigh(attention, e, mask, m, v):
    """The first head: [e − m, e − v, e ∘ m, e ∘ v] built as it stands in the paper."""
    w1, b1, w2, b2 = (weight.numpy() for weight in attention.weights)
    e4, m4, v4 = e[:, None], m[:, :, None], v[:, :, None]
    alpha = np.concatenate([e4 - m4, e4 - v4, e4 * m4, e4 * v4], axis=-1)
    hidden = sigmoid(alpha @ w1[:, 0].reshape(4 * e.shape[-1], -1) + b1[0])
    return sigmoid(hidden @ w2[0] + b2[0]) * mask[:, None]


def inputs():
    rng = np.random.default_rng(0)
    mask = np.arange(L) < np.array([[L], [2], [0]])
    return rng.normal(size=(B, L, D)), mask, rng.normal(size=(B, K, D))


def randomised(layer, *arguments):
    layer(*arguments)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.weights])
    return layer


@pytest.mark.parametrize("passes", [0, 1, 3, 10])
@pytest.mark.parametrize("feedback", [True, False])
@pytest.mark.parametrize("share", [True, False])
def test_passes_follow_the_algorithm(float64, passes, feedback, share):
    e, mask, v = inputs()
    layer = randomised(MemoryUpdate(passes, share, feedback), e, mask, v)
    assert len(layer.attentions) == (min(passes, 1) if share else passes)
    m, weights = v, np.zeros((passes, B, K, L))
    for step in range(passes):
        attention = layer.attentions[0 if share else step]
        weights[step] = weigh(attention, e, mask, m if feedback else v, v)
        m = gru(layer.cell, np.einsum("bkl,bld->bkd", weights[step], e), m)
    np.testing.assert_allclose(layer(e, mask, v), m, atol=1e-10)
    found = layer.attention_weights(tf.constant(e), tf.constant(mask), tf.constant(v))
    np.testing.assert_allclose(found, weights.transpose(1, 0, 2, 3), atol=1e-12)


def test_the_weights_of_several_heads_are_their_mean(float64):
    e, mask, v = inputs()
    layer = randomised(MemoryUpdate(1, attention={"num_heads": 2}), e, mask, v)
    attention, half = layer.attentions[0], D // 2
    attention.w2.assign(attention.w2 * [[1.0], [0.0]])
    attention.b2.assign(attention.b2 * [1.0, 0.0])  # the second head gives σ(0) to every event
    first = weigh(attention, e[:, :, :half], mask, v[:, :, :half], v[:, :, :half])
    found = layer.attention_weights(tf.constant(e), tf.constant(mask), tf.constant(v))
    np.testing.assert_allclose(found[:, 0], (first + 0.5 * mask[:, None]) / 2, atol=1e-12)


def test_feedback_is_what_makes_the_second_pass_another(float64):
    e, mask, v = inputs()
    one = randomised(MemoryUpdate(2, True, True), e, mask, v)
    other = MemoryUpdate(2, True, False)
    other(e, mask, v)
    other.set_weights(one.get_weights())
    assert np.abs(one(e, mask, v) - other(e, mask, v))[:2].max() > 1e-3


def test_enhancement_writes_the_candidate_three_times(float64):
    rng = np.random.default_rng(2)
    memory, v = rng.normal(size=(B, K, D)), rng.normal(size=(B, K, D))
    layer = randomised(MemoryEnhancement(), memory, v)
    u = memory
    for _ in range(3):
        projected = u @ layer.projection.kernel.numpy()
        u = gru(layer.cell, np.concatenate([projected, v], axis=-1), u)
    np.testing.assert_allclose(layer(memory, v), u, atol=1e-12)


@pytest.mark.parametrize("product", [True, False])
def test_head_is_a_perceptron_on_user_and_candidate(float64, product):
    rng = np.random.default_rng(3)
    u, v = rng.normal(size=(B, K, D)), rng.normal(size=(B, K, D))
    head = randomised(Head((5, 3), product), u, v)
    rows = np.concatenate([u, v, u * v] if product else [u, v], axis=-1)
    for place, dense in enumerate(head.dense):
        rows = rows @ dense.kernel.numpy() + dense.bias.numpy()
        rows = np.maximum(rows, 0) if place < 2 else rows
    np.testing.assert_allclose(head(u, v), rows[..., 0], atol=1e-12)
    # A user who is the same for all candidates.
    np.testing.assert_allclose(
        head(u[:, :1], v), head(np.repeat(u[:, :1], K, axis=1), v), atol=1e-12
    )


def test_head_normalises_drops_out_and_decays():
    rng = np.random.default_rng(4)
    u, v = (rng.normal(3, 2, size=(64, 1, D)).astype(np.float32) for _ in range(2))
    head = Head((32,), dropout=0.5, batch_norm=True, l2=0.1)
    one, two, three = (
        head(u, v, training=True, seed=tf.constant(seed)).numpy()
        for seed in ([0, 1], [0, 1], [0, 2])
    )
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - three).max() > 1e-3
    # Batch statistics while training, moving averages after: they have hardly moved.
    assert np.abs(one - head(u, v).numpy()).max() > 1e-3
    decay = sum(0.1 * np.sum(dense.kernel.numpy() ** 2) for dense in head.dense)
    np.testing.assert_allclose(sum(head.losses), decay, rtol=1e-5)


def test_head_refuses_a_product_of_widths_that_differ():
    u, v = np.zeros((1, 1, 3), np.float32), np.zeros((1, 1, 4), np.float32)
    assert Head(product=False)(u, v).shape == (1, 1)
    with pytest.raises(ValueError, match=r"`product` requires.*Received: 3 and 4"):
        Head(product=True)(u, v)


@pytest.mark.parametrize("make", [lambda: MemoryUpdate(2), lambda: MemoryUpdate(3, True, False)])
def test_gradients_agree_with_finite_differences(float64, make):
    e, mask, v = inputs()
    layer = randomised(make(), e, mask, v)
    enhance = randomised(MemoryEnhancement(2), v, v)
    cotangent = np.random.default_rng(5).normal(size=v.shape)
    arguments = [tf.Variable(e), tf.Variable(v), *layer.weights, *enhance.weights]

    def loss():
        memory = layer(arguments[0], mask, arguments[1])
        return tf.reduce_sum(enhance(memory, arguments[1]) * cotangent)

    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, arguments)
    rng = np.random.default_rng(6)
    for argument, gradient in zip(arguments, gradients, strict=True):
        direction = rng.normal(size=argument.shape)
        sides = []
        for sign in (1, -1):
            argument.assign_add(sign * 1e-6 * direction)
            sides.append(loss().numpy())
            argument.assign_sub(sign * 1e-6 * direction)
        expected = (sides[0] - sides[1]) / 2e-6
        np.testing.assert_allclose(np.sum(gradient * direction), expected, rtol=1e-5, atol=1e-7)


def test_a_gru_starts_by_passing_on_what_it_reads():
    dim, x = 4, np.random.default_rng(0).normal(size=(5, 4)).astype("f")
    cell = tf.keras.layers.GRUCell(dim, kernel_initializer=IdentityCandidateKernel(seed=1))
    _, [state] = cell(tf.constant(x), [tf.zeros([5, dim])])
    gates = x @ cell.kernel.numpy()[:, :dim]
    # From a state of zeros: h = (1 − z) tanh(x), but for a tenth of Glorot's noise.
    expected = (1 - 1 / (1 + np.exp(-gates))) * np.tanh(x)
    assert np.abs(state - expected).max() < 0.15
    assert np.corrcoef(np.ravel(state), np.ravel(expected))[0, 1] > 0.97


def test_passes_start_by_forgetting_and_the_enhancement_by_keeping():
    # With nothing to read or to reset, h = z h, and z is the share kept at the start.
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("f")
    update, enhance = MemoryUpdate(passes=2), MemoryEnhancement(steps=3)
    empty = tf.zeros([2, 5, 4]), tf.zeros([2, 5], tf.bool)
    for layer, arguments, expected in (
        (update, (*empty, tf.constant(values)), 0.12**2 * values),
        (enhance, (tf.constant(values), tf.zeros([2, 3, 4])), 0.95**3 * values),
    ):
        layer(*arguments)
        layer.cell.kernel.assign(tf.zeros_like(layer.cell.kernel))
        layer.cell.recurrent_kernel.assign(tf.zeros_like(layer.cell.recurrent_kernel))
        np.testing.assert_allclose(layer(*arguments), expected, rtol=1e-5)
