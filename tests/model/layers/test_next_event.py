"""The next-event loss against its formula, and IMN over the states that it trains."""

import numpy as np
import tensorflow as tf

from model.imn import IMN, IMNConfig
from model.layers.next_event import next_event_loss

B, L, K, D = 3, 5, 2, 4
LENGTHS = np.array([5, 2, 4])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def expected(states, events, filled):
    """The mean over places that have a next event, of their own and of the row before."""
    losses = []
    for b in range(B):
        other = (b - 1) % B
        for t in range(L - 1):
            if filled[b, t] and filled[b, t + 1] and filled[other, t + 1]:
                right = states[b, t] @ events[b, t + 1]
                wrong = states[b, t] @ events[other, t + 1]
                losses.append(-np.log(sigmoid(right)) - np.log(1 - sigmoid(wrong)))
    assert len(losses) > 4
    return np.mean(losses)


def given(rng):
    mask = np.arange(L) >= L - LENGTHS[:, None]
    history = rng.normal(size=(B, L, D)) * mask[:, :, None]
    return tf.constant(history), tf.constant(mask), tf.constant(rng.normal(size=(B, K, D)))


def test_it_tells_the_next_event_from_another_rows(float64):
    rng = np.random.default_rng(2)
    states, events = rng.normal(size=(2, B, L, D))
    filled = np.arange(L) >= L - LENGTHS[:, None]
    got = next_event_loss(*(tf.constant(each) for each in (states, events, filled)))
    np.testing.assert_allclose(got, expected(states, events, filled), atol=1e-10)


def test_imn_with_states_is_imn_that_is_given_events_and_states(float64):
    history, mask, targets = given(np.random.default_rng(3))
    over, plain = IMN(IMNConfig(embedding_dim=D, states=True)), IMN(IMNConfig(embedding_dim=D))
    over(history, mask, targets)
    over.extract.recurrent.assign(np.random.default_rng(4).normal(size=(D, 3 * D)))
    states = over.extract(history, mask)
    read = history + states
    plain(read, mask, targets)
    of_extract = {id(weight) for weight in over.extract.weights}
    shared = [weight for weight in over.weights if id(weight) not in of_extract]
    for weight, own in zip(plain.weights, shared, strict=True):
        assert weight.shape == own.shape
        weight.assign(own)
    user, loss = over(history, mask, targets, training=True)
    np.testing.assert_allclose(user, plain(read, mask, targets), atol=1e-12)
    np.testing.assert_allclose(over(history, mask, targets), user, atol=1e-12)
    assert np.abs(user - plain(history, mask, targets)).max() > 1e-3
    of_formula = expected(states.numpy(), history.numpy(), mask.numpy())
    np.testing.assert_allclose(loss, of_formula, atol=1e-10)
    weights = over.attention_weights(history, mask, targets)
    assert weights.shape == (B, 3, K, L)
    np.testing.assert_allclose(weights, plain.attention_weights(read, mask, targets), atol=1e-12)


def test_the_weight_scales_the_loss_and_0_leaves_it_out(float64):
    history, mask, targets = given(np.random.default_rng(5))
    losses = []
    for weight in (1.0, 0.25):
        tf.keras.utils.set_random_seed(6)
        block = IMN(IMNConfig(embedding_dim=D, states=True, auxiliary_weight=weight))
        losses.append(float(block(history, mask, targets, training=True)[1]))
    assert np.isclose(losses[1], losses[0] / 4)
    block = IMN(IMNConfig(embedding_dim=D, states=True, auxiliary_weight=0.0))
    assert block(history, mask, targets, training=True).shape == (B, K, D)


def test_histories_of_no_places_and_a_row_alone_have_no_loss(float64):
    history, mask, targets = given(np.random.default_rng(7))
    block = IMN(IMNConfig(embedding_dim=D, states=True))
    for rows, places in ((1, slice(None)), (B, slice(0))):
        args = history[:rows, places], mask[:rows, places], targets[:rows]
        user, loss = block(*args, training=True)
        assert float(loss) == 0
        assert np.isfinite(user).all()
        assert block.attention_weights(*args).shape[3] == args[0].shape[1]
