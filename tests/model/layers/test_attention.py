"""Multi-way attention against the plain formula of the paper, in values and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from model.layers.attention import NORMALIZATIONS, MultiwayAttention

B, L, K, D = 3, 5, 2, 8


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def plain(layer, e, mask, m, v):
    """Σ_j w_j e_j with α = [e − m, e − v, e ∘ m, e ∘ v] written out, loop by loop."""
    w1, b1, w2, b2 = (weight.numpy() for weight in layer.weights)
    w1 = w1 * np.reshape(
        (layer.differences, layer.differences, layer.products, layer.products), (4, 1, 1, 1)
    )
    heads, width = layer.num_heads, D // layer.num_heads
    out = np.zeros_like(m)
    for b, k, h in np.ndindex(len(e), m.shape[1], heads):
        part = slice(h * width, (h + 1) * width)
        logits = np.zeros(L)
        for j in range(L):
            ej, mk, vk = e[b, j, part], m[b, k, part], v[b, k, part]
            alpha = np.concatenate([ej - mk, ej - vk, ej * mk, ej * vk])
            hidden = sigmoid(alpha @ w1[:, h].reshape(4 * width, -1) + b1[h])
            logits[j] = hidden @ w2[h] + b2[h]
        filled = mask[b].astype(float)
        if layer.normalization == "softmax":
            weights = np.exp(logits) * filled
            weights /= max(weights.sum(), 1e-30)
        else:
            weights = sigmoid(logits) * filled
        if layer.normalization == "length":
            weights /= max(filled.sum(), 1)
        out[b, k, part] = weights @ e[b][:, part]
    return out


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    e = rng.normal(size=(B, L, D))
    mask = np.arange(L) < np.array([[L], [2], [0]])
    return e, mask, rng.normal(size=(B, K, D)), rng.normal(size=(B, K, D))


def built(float64, **options):
    layer = MultiwayAttention(units=4, **options)
    e, mask, m, v = inputs()
    layer(e, mask, m, v)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.weights])
    return layer


@pytest.mark.parametrize(("differences", "products"), [(True, False), (False, True)])
def test_what_is_left_out_of_the_attention_has_no_part_in_it(float64, differences, products):
    layer = built(float64, differences=differences, products=products)
    assert (layer.differences, layer.products) == (differences, products)
    e, mask, m, v = inputs()
    np.testing.assert_allclose(layer(e, mask, m, v), plain(layer, e, mask, m, v), atol=1e-10)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_exact_algebra_gives_the_plain_form(float64, num_heads, normalization):
    layer = built(float64, num_heads=num_heads, normalization=normalization)
    e, mask, m, v = inputs()
    np.testing.assert_allclose(layer(e, mask, m, v), plain(layer, e, mask, m, v), atol=1e-12)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("num_heads", [1, 2])
def test_gradients_are_those_of_the_plain_form(float64, num_heads, normalization):
    """Every input and weight, against central differences of the NumPy formula."""
    layer = built(float64, num_heads=num_heads, normalization=normalization)
    e, mask, m, v = inputs()
    cotangent = np.random.default_rng(2).normal(size=m.shape)
    tensors = [tf.constant(x) for x in (e, m, v)]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        out = layer(tensors[0], mask, tensors[1], tensors[2])
        loss = tf.reduce_sum(out * cotangent)
    gradients = tape.gradient(loss, [*tensors, *layer.weights])
    # One random direction for all arguments together, and one for each alone.
    rng = np.random.default_rng(3)
    directions = [rng.normal(size=g.shape) for g in gradients]
    weights = layer.get_weights()

    def value(step, only):
        moved = [
            x + step * d * (only in (None, place))
            for place, (x, d) in enumerate(zip([e, m, v, *weights], directions, strict=True))
        ]
        layer.set_weights(moved[3:])
        return np.sum(plain(layer, moved[0], mask, moved[1], moved[2]) * cotangent)

    for only in (None, *range(len(gradients))):
        expected = (value(1e-6, only) - value(-1e-6, only)) / 2e-6
        got = sum(
            np.sum(g.numpy() * d)
            for place, (g, d) in enumerate(zip(gradients, directions, strict=True))
            if only in (None, place)
        )
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


def test_float32_stays_close_to_the_plain_form():
    layer = MultiwayAttention(units=8)
    e, mask, m, v = (np.float32(x) if x.dtype == np.float64 else x for x in inputs())
    got = layer(e, mask, m, v)
    assert got.dtype == tf.float32
    np.testing.assert_allclose(got, plain(layer, e, mask, m, v), rtol=1e-4, atol=1e-5)


def test_an_empty_history_gives_zeros():
    for normalization in NORMALIZATIONS:
        layer = MultiwayAttention(normalization=normalization)
        e, mask, m, v = (np.float32(x) if x.dtype == np.float64 else x for x in inputs())
        assert not layer(e, mask, m, v)[2].numpy().any()


def test_heads_that_do_not_divide_the_width_are_refused():
    e, mask, m, v = inputs()
    with pytest.raises(ValueError, match=r"`num_heads` must divide.*8.*Received: 3"):
        MultiwayAttention(num_heads=3)(e, mask, m, v)
    with pytest.raises(ValueError, match="`normalization` must be one of"):
        MultiwayAttention(normalization="none")
