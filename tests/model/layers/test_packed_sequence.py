"""The order of packed places, against loops over rows and columns."""

import numpy as np
import pytest
import tensorflow as tf

from model.layers.packed_sequence import Packed

B, L, D = 5, 6, 2
LENGTHS = [3, 0, 6, 1, 3]


def mask_of(lengths, width=L):
    return np.arange(width) >= width - np.array(lengths, int)[:, None]


@pytest.fixture
def packed():
    return Packed(tf.constant(mask_of(LENGTHS)))


def test_the_oldest_column_comes_first_and_the_longest_rows_last(packed):
    names = np.array([[f"{row}-{column}" for column in range(L)] for row in range(B)])
    got = packed.flat(tf.constant(names)).numpy().astype(str).tolist()
    expected = ["2-0", "2-1", "2-2", *("0-3", "4-3", "2-3"), *("0-4", "4-4", "2-4")]
    assert got == [*expected, "3-5", "0-5", "4-5", "2-5"]
    assert packed.active.numpy().tolist() == [1, 1, 1, 3, 3, 4]
    assert packed.joining.numpy().tolist() == [1, 0, 0, 2, 0, 1]


def test_newest_and_unflat_find_their_rows_again(packed):
    values = np.random.default_rng(0).normal(size=(B, L, D))
    flat = packed.flat(tf.constant(values))
    filled = mask_of(LENGTHS)[:, :, None]
    np.testing.assert_array_equal(packed.unflat(flat), values * filled)
    expected = values[:, -1] * filled[:, -1]
    np.testing.assert_array_equal(packed.newest(flat), expected)
    expected[1] = [7, 8]
    np.testing.assert_array_equal(packed.newest(flat, tf.constant([7.0, 8.0], "float64")), expected)


def test_a_loop_sees_each_row_from_its_first_event_and_back(packed):
    values = np.random.default_rng(1).normal(size=(B, L))
    at = packed.columns(packed.flat(tf.constant(values)))

    def step(column, state):
        return [packed.joined(state, column) * 0.5 + at.read(column)]

    [state] = packed.run(step, [tf.zeros([0], "float64")])
    got = packed.newest(state)
    halves = 0.5 ** np.arange(L)[::-1]
    np.testing.assert_allclose(got, (values * mask_of(LENGTHS)) @ halves)

    def back(column, state, left):
        joined, others = packed.parted(state + at.read(column), column)
        return others, left + tf.reduce_sum(joined, keepdims=True)

    # Each row is left with all its events where it joined.
    _, left = packed.run(back, [tf.zeros([4], "float64"), tf.zeros([1], "float64")], backwards=True)
    np.testing.assert_allclose(left, [values[mask_of(LENGTHS)].sum()])


@pytest.mark.parametrize("lengths", [LENGTHS, [0, 0], [1]])
def test_a_history_divided_keeps_the_order_in_each_part(lengths):
    mask, parts = mask_of(lengths), 3
    packed = Packed(tf.constant(mask))
    part = np.random.default_rng(2).integers(0, parts, mask.shape)
    events = np.arange(mask.size).reshape(mask.shape)
    there, order = packed.divided(packed.flat(tf.constant(part, tf.int32)), parts)
    flat = tf.gather(packed.flat(tf.constant(events)), order)
    got = there.unflat(flat).numpy()
    for row in range(len(lengths)):
        for each in range(parts):
            expected = events[row][mask[row] & (part[row] == each)]
            line = got[row * parts + each]
            np.testing.assert_array_equal(line[len(line) - len(expected) :], expected)
            assert not line[: len(line) - len(expected)].any()
