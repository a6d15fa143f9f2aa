"""DIEN against its equations, written out a row and an event at a time."""

import numpy as np
import tensorflow as tf

from model.baselines.dien import DIENConfig, InterestEvolution
from model.layers.gru import GatedRecurrence

B, L, K, D = 3, 5, 2, 4
LENGTHS = [5, 2, 0]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def given(rng, lengths=LENGTHS):
    mask = np.arange(L) >= L - np.array(lengths)[:, None]
    history = rng.normal(size=(B, L, D)) * mask[:, :, None]
    return tf.constant(history), tf.constant(mask), tf.constant(rng.normal(size=(B, K, D)))


def steps(layer, sequence, scale):
    """States of the recurrence for one row: x `(L, D)`, a `(L,)`."""
    kernel, bias = (weight.numpy() for weight in layer.inputs.weights)
    wu, wr, wc = np.split(kernel, 3, axis=1)
    bu, br, bc = np.split(bias, 3)
    uu, ur, uc = np.split(layer.recurrent.numpy(), 3, axis=1)
    h, states = np.zeros(len(uu)), []
    for x, a in zip(sequence, scale, strict=True):
        u = a * sigmoid(x @ wu + h @ uu + bu)
        r = sigmoid(x @ wr + h @ ur + br)
        c = np.tanh(x @ wc + r * (h @ uc) + bc)
        h = (1 - u) * h + u * c
        states.append(h)
    return np.array(states).reshape(-1, len(uu))


def randomized(layer, rng):
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))


def test_the_recurrence_follows_its_equations_for_each_candidate(float64):
    rng = np.random.default_rng(0)
    layer = GatedRecurrence(D)
    sequence, mask, _ = given(rng)
    scale = rng.uniform(size=(B, L, K))
    layer(sequence, mask)
    randomized(layer, rng)
    states = layer(sequence, mask).numpy()
    last = layer.last(sequence, mask, tf.constant(scale)).numpy()
    for b, n in enumerate(LENGTHS):
        events = sequence[b, L - n :].numpy()
        assert not states[b, : L - n].any()
        np.testing.assert_allclose(states[b, L - n :], steps(layer, events, np.ones(n)), atol=1e-10)
        for k in range(K):
            expected = steps(layer, events, scale[b, L - n :, k])[-1] if n else np.zeros(D)
            np.testing.assert_allclose(last[b, k], expected, atol=1e-10)


def test_the_user_is_the_last_state_of_the_evolution(float64):
    rng = np.random.default_rng(1)
    history, mask, targets = given(rng)
    layer = InterestEvolution(DIENConfig())
    layer(history, mask, targets)
    randomized(layer, rng)
    got = layer(history, mask, targets).numpy()
    for b in range(B):
        events = history[b].numpy()[L - LENGTHS[b] :]
        states = steps(layer.extract, events, np.ones(len(events)))
        for k in range(K):
            expected = np.zeros(D)
            if len(events):
                logits = states @ layer.attention.kernel.numpy() @ targets[b, k].numpy()
                weights = np.exp(logits) / np.exp(logits).sum()
                expected = steps(layer.evolve, states, weights)[-1]
            np.testing.assert_allclose(got[b, k], expected, atol=1e-10)


def test_the_loss_is_of_the_next_event_can_be_left_out_and_needs_two_rows(float64):
    lengths = [5, 2, 4]
    history, mask, targets = given(np.random.default_rng(3), lengths)
    with_loss = InterestEvolution(DIENConfig(auxiliary_weight=0.25))
    user, loss = with_loss(history, mask, targets, training=True)
    assert user.shape == (B, K, D)
    losses = []
    states = [
        steps(with_loss.extract, history[b].numpy()[L - lengths[b] :], np.ones(lengths[b]))
        for b in range(B)
    ]
    for b in range(B):  # the next event, and what the row before has in its place
        other = (b - 1) % B
        for back in range(1, min(lengths[b], lengths[other] + 1)):
            state = states[b][lengths[b] - 1 - back]
            right, wrong = (state @ history[row, L - back].numpy() for row in (b, other))
            losses.append(np.log1p(np.exp(-right)) + np.log1p(np.exp(wrong)))
    assert len(losses) > 3
    np.testing.assert_allclose(loss, 0.25 * np.mean(losses), atol=1e-10)
    _, alone = with_loss(history[:1], mask[:1], targets[:1], training=True)
    assert float(alone) == 0
    without = InterestEvolution(DIENConfig(auxiliary_weight=0.0))
    assert without(history, mask, targets, training=True).shape == (B, K, D)
