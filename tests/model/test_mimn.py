"""MIMN against its equations, written out a row and an event at a time."""

import numpy as np
import pytest
import tensorflow as tf

from model.mimn import InterestMemory, MIMNConfig

B, L, K, D = 3, 5, 2, 4
LENGTHS = [5, 2, 0]


def given(rng):
    mask = np.arange(L) >= L - np.array(LENGTHS)[:, None]
    history = rng.normal(size=(B, L, D)) * mask[:, :, None]
    return tf.constant(history), tf.constant(mask), tf.constant(rng.normal(size=(B, K, D)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def softplus(x):
    return np.log1p(np.exp(x))


def dense(x, layer):
    return x @ layer.kernel.numpy() + (layer.bias.numpy() if layer.use_bias else 0)


def gru(layer, projected, other, state):
    """`projected` holds what the event gives to update gate, reset gate and new state."""
    pu, pr, pc = np.split(projected, 3)
    u, r = np.split(dense(np.concatenate([other, state]), layer.gates), 2)
    u, r = sigmoid(u + pu), sigmoid(r + pr)
    c = np.tanh(pc + dense(np.concatenate([other, r * state]), layer.fresh))
    return (1 - u) * state + u * c


def cosine(k, m):
    return k @ m / np.sqrt((k @ k + 1e-6) * (m @ m + 1e-6))


def address(key, memory, sharpness):
    return softmax(np.array([(softplus(sharpness) + 1) * cosine(key, m) for m in memory]))


def remembered(layer, events):
    memory = layer.memory.numpy().copy()
    slots = len(memory)
    h, r = np.zeros(D), np.zeros(D)
    induced, usage = np.zeros((slots, D)), np.zeros(slots)
    for x in events:
        h = gru(layer.controller, dense(x, layer.controller_input), r, h)
        heads = dense(h, layer.heads)
        read_key, write_key, erase, add = (heads[i * D : (i + 1) * D] for i in range(4))
        reading = address(read_key, memory, heads[4 * D])
        writing = address(write_key, memory, heads[4 * D + 1])
        if layer.utilisation:
            writing = writing * softmax(usage @ layer.balance.numpy())
        r = sum(w * m for w, m in zip(reading, memory, strict=True))
        for i in range(slots):
            memory[i] = memory[i] * (1 - writing[i] * sigmoid(erase)) + writing[i] * np.tanh(add)
        if layer.induction:
            i = int(np.argmax(reading))
            projected = dense(x, layer.induction_input)
            induced[i] = gru(layer.induction_unit, projected, memory[i], induced[i])
        usage += writing
    return memory, induced, usage


@pytest.mark.parametrize("induction", [True, False])
@pytest.mark.parametrize("utilisation", [0.3, 0.0])
def test_the_memory_is_written_event_by_event_and_read_for_the_candidate(
    float64, induction, utilisation
):
    rng = np.random.default_rng(0)
    history, mask, targets = given(rng)
    layer = InterestMemory(MIMNConfig(slots=3, induction=induction, utilisation=utilisation))
    layer(history, mask, targets)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    got = layer(history, mask, targets).numpy()
    losses = []
    for b, length in enumerate(LENGTHS):
        memory, induced, usage = remembered(layer, history[b].numpy()[L - length :])
        losses.append(((usage - usage.mean()) ** 2).sum())
        for k in range(K):
            key = dense(targets[b, k].numpy(), layer.final_key)
            weights = address(key, memory, layer.final_sharpness.numpy())
            read = [weights @ memory] + ([weights @ induced] if induction else [])
            expected = dense(np.concatenate(read), layer.projection)
            np.testing.assert_allclose(got[b, k], expected, atol=1e-9)
    trained = layer(history, mask, targets, training=True)
    if utilisation:
        user, loss = trained
        np.testing.assert_allclose(user, got, atol=1e-12)
        assert float(loss) == pytest.approx(0.3 * np.mean(losses), rel=1e-9)
    else:
        np.testing.assert_allclose(trained, got, atol=1e-12)
    names = " ".join(weight.name for weight in layer.weights)
    assert ("balance" in names) == bool(utilisation)
