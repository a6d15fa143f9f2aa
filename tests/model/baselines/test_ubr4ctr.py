"""UBR4CTR: what is retrieved, what is read, and where the gradient goes."""

import numpy as np
import tensorflow as tf

from model.baselines.ubr4ctr import Retrieval, UBR4CTRConfig, top

B, L, K, D = 4, 7, 3, 4
LENGTHS = [7, 4, 1, 0]


def given(rng):
    mask = np.arange(L) >= L - np.array(LENGTHS)[:, None]
    history = rng.normal(size=(B, L, D)) * mask[:, :, None]
    return tf.constant(history), tf.constant(mask), tf.constant(rng.normal(size=(B, K, D)))


def built(rng, selected):
    layer = Retrieval(UBR4CTRConfig(selected=selected, selection_units=5))
    layer(*given(rng))
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def test_the_user_is_attention_to_the_behaviours_most_worth_keeping(float64):
    for selected in (1, 3, 20):
        rng = np.random.default_rng(selected)
        layer = built(rng, selected)
        history, mask, targets = given(rng)
        got = layer(history, mask, targets).numpy()
        weights = layer.attention_weights(history, mask, targets).numpy()
        training = layer(history, mask, targets, training=True).numpy()
        np.testing.assert_allclose(training, got, atol=1e-12)
        w1 = np.concatenate(list(layer.w1.numpy()))  # on [e, v, e ∘ v]
        w2, b2 = (weight.numpy() for weight in layer.score.weights)
        for b, length in enumerate(LENGTHS):
            events = history[b].numpy()[L - length :]
            for k in range(K):
                v = targets[b, k].numpy()
                keep = [
                    (np.tanh(np.concatenate([e, v, e * v]) @ w1 + layer.b1.numpy()) @ w2 + b2)[0]
                    for e in events
                ]
                chosen = np.argsort(keep)[::-1][:selected]
                query = v @ layer.query.kernel.numpy()
                a = np.array([np.exp(events[j] @ query / np.sqrt(D)) for j in chosen])
                expected = (a[:, None] * events[chosen]).sum(0) / a.sum() if length else np.zeros(D)
                np.testing.assert_allclose(got[b, k], expected, atol=1e-9)
                shares = np.zeros(L)
                if length:
                    shares[chosen + L - length] = a / a.sum()
                np.testing.assert_allclose(weights[b, 0, k], shares, atol=1e-9)


def test_of_equal_scores_the_newest_are_taken_and_padding_never():
    mask = tf.constant([[False, True, True, True, True], [False] * 4 + [True]])
    scores = tf.constant([[9.0, 1.0, 2.0, 1.0, 1.0], [9.0, 9.0, 9.0, 9.0, -5.0]])[:, :, None]
    taken = top(scores, mask, 3).numpy()[:, :, 0]
    np.testing.assert_array_equal(taken, [[0, 0, 1, 1, 1], [0, 0, 0, 0, 1]])
    assert top(tf.zeros([2, 0, 3]), tf.zeros([2, 0], tf.bool), 3).shape == (2, 0, 3)


def test_the_choice_learns_also_from_what_was_not_kept(float64):
    rng = np.random.default_rng(0)
    layer = built(rng, 2)
    history, mask, targets = given(rng)
    keep = layer.keep_logits(history, targets)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(history, mask, targets, training=True) ** 2)
    for weight, gradient in zip(
        layer.trainable_variables,
        tape.gradient(loss, layer.trainable_variables),
        strict=True,
    ):
        assert np.abs(gradient).max() > 0, weight.name
    # The straight-through gradient of an event's gate, by its definition: what u would
    # change by if the event counted a little more, kept or not.
    row, k = 0, 0
    kept = top(keep, mask, 2).numpy()[row, :, k]
    logits = history[row].numpy() @ (targets[row, k].numpy() @ layer.query.kernel.numpy())
    logits /= np.sqrt(D)
    a = np.exp(np.minimum(logits - logits[kept > 0].max(), 0))

    def user(gate):
        return (gate * a) @ history[row].numpy() / (gate @ a)

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(history, mask, targets, training=True)[row, k])
    got = tape.gradient(loss, layer.score.bias).numpy()[0]
    p = 1 / (1 + np.exp(-keep.numpy()[row, :, k]))
    slope = [
        (user(kept + 1e-6 * np.eye(L)[j]) - user(kept - 1e-6 * np.eye(L)[j])).sum() / 2e-6
        for j in range(L)
    ]
    np.testing.assert_allclose(got, np.sum(slope * p * (1 - p)), rtol=1e-5)


def test_without_training_the_choice_has_no_gradient(float64):
    rng = np.random.default_rng(1)
    layer = built(rng, 2)
    inputs = given(rng)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(*inputs))
    assert tape.gradient(loss, layer.w1) is None
