"""SASRec against its equations, all places computed, a row at a time."""

import numpy as np
import tensorflow as tf

from model.baselines.sasrec import SASRecConfig, SelfAttention

B, L, D = 4, 6, 4
LENGTHS = [6, 3, 1, 0]


def given(rng):
    mask = np.arange(L) >= L - np.array(LENGTHS)[:, None]
    history = rng.normal(size=(B, L, D)) * mask[:, :, None]
    return tf.constant(history), tf.constant(mask), tf.constant(rng.normal(size=(B, 2, D)))


def norm(x, layer):
    gamma, beta = (weight.numpy() for weight in layer.weights)
    centred = x - x.mean(-1, keepdims=True)
    return gamma * centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) + beta


def dense(x, layer):
    kernel = layer.kernel.numpy()
    return x @ kernel + (layer.bias.numpy() if layer.use_bias else 0)


def expected_user(layer, events):
    """Every place of every block, event by event."""
    x = events
    for block in layer.blocks:
        normed = norm(x, block.norms[0])
        q, k, v = (dense(normed, each) for each in (block.query, block.key, block.value))
        read = []
        for i in range(len(x)):
            logits = np.array([q[i] @ k[j] / np.sqrt(D) for j in range(i + 1)])
            weights = np.exp(logits) / np.exp(logits).sum()
            read.append(sum(w * v[j] for j, w in enumerate(weights)))
        x = x + np.array(read)
        hidden = np.maximum(dense(norm(x, block.norms[1]), block.feed[0]), 0)
        x = x + dense(hidden, block.feed[1])
    return norm(x, layer.norm)[-1]


def built(blocks, rng, dropout=0.0):
    layer = SelfAttention(SASRecConfig(blocks=blocks, block_dropout=dropout))
    layer(*given(rng))
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def test_the_user_is_the_newest_state_of_causal_self_attention(float64):
    for blocks in (1, 2, 3):
        rng = np.random.default_rng(blocks)
        layer = built(blocks, rng)
        history, mask, targets = given(rng)
        got = layer(history, mask, targets).numpy()
        assert got.shape == (B, 1, D)
        for b, length in enumerate(LENGTHS):
            if length:
                expected = expected_user(layer, history[b].numpy()[L - length :])
                np.testing.assert_allclose(got[b, 0], expected, atol=1e-9)
        np.testing.assert_array_equal(got[3], 0)


def test_dropout_is_decided_by_the_seed_and_off_outside_training(float64):
    rng = np.random.default_rng(0)
    layer = built(2, rng, dropout=0.5)
    inputs = given(rng)
    one, again, other = (
        layer(*inputs, training=True, seed=tf.constant([1, seed], tf.int64)).numpy()
        for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(one, again)
    assert np.abs(one[:3] - other[:3]).max() > 1e-3
    np.testing.assert_array_equal(layer(*inputs), layer(*inputs, training=False))
    assert np.abs(one[:3] - layer(*inputs).numpy()[:3]).max() > 1e-3
