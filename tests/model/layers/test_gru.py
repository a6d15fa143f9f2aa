"""Gradients that are written out, against differences of the function itself."""

import numpy as np
import pytest
import tensorflow as tf

from model.baselines.mimn_memory import memories
from model.layers.gru import gated_states, scaled_states
from model.layers.packed_sequence import Packed

L, D, SLOTS = 5, 3, 4
LENGTHS = np.array([4, 2, 0, 5])
N = LENGTHS.sum()
STEP = 1e-6


def agree(function, given, seed=0):
    """For each argument, the slope along a random direction is what the gradient says."""
    rng = np.random.default_rng(seed)
    graph = tf.function(function, autograph=False)
    given = [tf.constant(each) for each in given]
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = graph(*given)
    for place, gradient in enumerate(tape.gradient(value, given)):
        direction = rng.normal(size=given[place].shape)
        ends = []
        for sign in (1, -1):
            moved = list(given)
            moved[place] = given[place] + sign * STEP * direction
            ends.append(float(graph(*moved)))
        slope = (ends[0] - ends[1]) / (2 * STEP)
        assert abs(slope) > 1e-3, f"argument {place} does not matter here"
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-6, atol=1e-8)


def packed():
    return Packed(tf.constant(np.arange(L) >= L - LENGTHS[:, None]))


def weighed(states, *shape):
    """A number that depends on all states `(N, *shape)`, each in its own way."""
    weights = np.random.default_rng(1).normal(size=(N, *shape))
    return tf.reduce_sum(tf.sin(states) * weights)


@pytest.mark.parametrize("count", [1, 3])
def test_a_gru_whose_gate_is_scaled(float64, count):
    rng = np.random.default_rng(2)
    shapes = (N, 3 * D), (N, count), (D, 3 * D)
    given = [rng.normal(size=shape) for shape in shapes]
    agree(lambda *each: weighed(scaled_states(packed(), *each), count, D), given)


def test_a_gru(float64):
    rng = np.random.default_rng(3)
    given = rng.normal(size=(N, 3 * D)), rng.normal(size=(D, 3 * D))
    agree(lambda *each: weighed(gated_states(packed(), *each), D), given)


def test_a_memory_that_is_read_and_written(float64):
    rng = np.random.default_rng(4)
    shapes = [(N, 3 * D), (D, 3 * D), (D, 3 * D), (D, 4 * D), (4 * D,), (2,)]
    shapes += [(SLOTS, SLOTS), (SLOTS, D)]
    given = [rng.normal(size=shape) for shape in shapes]
    given[5] = np.array([1.3, 2.1])

    def function(*each):
        memory, used, _ = memories(packed(), *each)
        return weighed(memory, SLOTS, D) + weighed(used, SLOTS)

    agree(function, given)


def test_no_event_at_all_has_a_gradient_of_zeros():
    empty = Packed(tf.zeros([3, L], tf.bool))
    given, scale = tf.zeros([0, 3 * D]), tf.zeros([0, 2])
    kernel = tf.ones([D, 3 * D])
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        total = tf.reduce_sum(scaled_states(empty, given, scale, kernel))
    assert float(total) == 0
    np.testing.assert_array_equal(tape.gradient(total, kernel), np.zeros([D, 3 * D]))
