"""MIMN against its equations, one event and one slot at a time; its switches."""

import numpy as np
import pytest
import tensorflow as tf

from model.baselines.mimn import MemoryNetwork, MIMNConfig

B, L, K, D = 4, 5, 3, 4
LENGTHS = np.array([L, 3, 1, 0])
MASK = np.arange(L) >= L - LENGTHS[:, None]
SWITCHES = [
    {},
    {"utilisation": 0.0},
    {"induction": False},
    {"utilisation": 0.0, "induction": False, "slots": 1},
]


def inputs(dtype="float64"):
    rng = np.random.default_rng(0)
    history = rng.normal(size=(B, L, D)) * MASK[:, :, None]
    return history.astype(dtype), tf.constant(MASK), rng.normal(size=(B, K, D)).astype(dtype)


def built(**options):
    layer = MemoryNetwork(MIMNConfig(**{"slots": 3, **options}))
    layer(*inputs(tf.keras.backend.floatx()))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.weights])
    return layer


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def cosines(key, memory):
    # The layer keeps norms of zero apart by 1e-6 under the root.
    norm = lambda x: np.sqrt(x @ x + 1e-6)  # noqa: E731
    return np.array([key @ slot / (norm(key) * norm(slot)) for slot in memory])


def gru(cell, x, y, h):
    wz, wr, wc = np.split(cell.x_kernel.numpy(), 3, axis=1)
    vz, vr, vc = np.split(cell.y_kernel.numpy(), 3, axis=1)
    uz, ur, uc = np.split(cell.h_kernel.numpy(), 3, axis=1)
    bz, br, bc = np.split(cell.bias.numpy(), 3)
    z = sigmoid(x @ wz + y @ vz + h @ uz + bz)
    r = sigmoid(x @ wr + y @ vr + h @ ur + br)
    return (1 - z) * h + z * np.tanh(x @ wc + y @ vc + r * (h @ uc) + bc)


def plain(layer, events, target):
    """User and regularisation of one history `(n, D)` and one candidate."""
    m = layer.slots
    beta = np.log1p(np.exp(layer.sharpness.numpy())) + 1
    memory, induced, used = layer.first.numpy().copy(), np.zeros((m, D)), np.zeros(m)
    h, r = np.zeros(D), np.zeros(D)
    for x in events:
        h = gru(layer.controller, x, r, h)
        k_r, k_w, e, a = np.split(h @ layer.emit.numpy() + layer.emit_bias.numpy(), 4)
        reading = softmax(beta[0] * cosines(k_r, memory))
        writing = softmax(beta[1] * cosines(k_w, memory))
        if layer.utilisation:
            writing *= softmax(used @ layer.rebalance.numpy())
            writing /= writing.sum()
        r = sum(reading[i] * memory[i] for i in range(m))
        for i in range(m):
            memory[i] = (1 - writing[i] * sigmoid(e)) * memory[i] + writing[i] * np.tanh(a)
        used += writing
        if layer.induction:
            i = reading.argmax()
            induced[i] = gru(layer.inductor, x, memory[i], induced[i])
    weights = softmax(beta[2] * cosines(target @ layer.candidate_key.kernel.numpy(), memory))
    read = weights @ (np.concatenate([memory, induced], 1) if layer.induction else memory)
    kernel, bias = (weight.numpy() for weight in layer.user.weights)
    spread = np.sum((used - used.mean()) ** 2) / max(len(events), 1) ** 2
    return read @ kernel + bias, layer.utilisation * spread


@pytest.mark.parametrize("options", SWITCHES)
def test_it_is_what_the_equations_say(float64, options):
    layer = built(**options)
    history, mask, targets = inputs()
    got = layer(history, mask, targets, training=True)
    assert isinstance(got, tuple) == bool(layer.utilisation)
    user, loss = got if isinstance(got, tuple) else (got, 0.0)
    losses = np.zeros(B)
    for row, k in np.ndindex(B, K):
        events = history[row, L - LENGTHS[row] :]
        expected, losses[row] = plain(layer, events, targets[row, k])
        np.testing.assert_allclose(user[row, k], expected, atol=1e-9)
    np.testing.assert_allclose(loss, losses.mean(), atol=1e-12)
    np.testing.assert_allclose(layer(history, mask, targets), user, atol=1e-12)


def test_padding_and_other_candidates_change_nothing(float64):
    layer = built()
    history, mask, targets = inputs()
    expected, loss = layer(history, mask, targets, training=True)
    wider = np.pad(history, [[0, 0], [4, 0], [0, 0]])
    wider[0, :4] = 7.0
    wider_mask = tf.pad(mask, [[0, 0], [4, 0]])
    got, own_loss = layer(wider, wider_mask, targets, training=True)
    np.testing.assert_allclose(got, expected, atol=1e-12)
    np.testing.assert_allclose(own_loss, loss, atol=1e-12)
    for k in range(K):
        alone = layer(history, mask, targets[:, k : k + 1])
        np.testing.assert_allclose(alone[:, 0], expected[:, k], atol=1e-12)


def gradients(layer, history, mask, targets):
    history = tf.convert_to_tensor(history)
    with tf.GradientTape() as tape:
        tape.watch(history)
        user, loss = layer(history, mask, targets, training=True)
        total = tf.reduce_sum(tf.sin(user)) + loss
    return total, tape.gradient(total, [history, *layer.trainable_variables])


def test_every_weight_has_a_gradient():
    layer = built()
    total, found = gradients(layer, *inputs("float32"))
    assert np.isfinite(total)
    for weight, gradient in zip(layer.trainable_variables, found[1:], strict=True):
        assert np.isfinite(gradient).all(), weight.name
        assert np.any(gradient), weight.name
    # Padding has none, and each event has one.
    np.testing.assert_array_equal(np.any(found[0], axis=2), MASK)


@pytest.mark.parametrize("shape", [(0, 4), (2, 0), (0, 0), (2, 3)])
def test_empty_batches_and_histories_are_finite(shape):
    layer = built()
    graph = tf.function(lambda *given: gradients(layer, *given), autograph=False)
    given = tf.zeros([*shape, D]), tf.zeros(shape, tf.bool), tf.zeros([shape[0], K, D])
    total, found = graph(*given)
    assert np.isfinite(total)
    assert all(np.isfinite(gradient).all() for gradient in found)
    assert layer(*given).shape == (shape[0], K, D)
