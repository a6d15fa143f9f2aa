"""The recurrence without a hand-written gradient: the same values, and TensorFlow's gradient."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import plain_recurrences
from model.layers import gru
from model.layers.packed_sequence import Packed

D = 3


def both(ours, plain, given, lengths, longest):
    """Values and gradients of both functions, for a number that depends on all results."""
    mask = tf.constant(np.arange(longest) >= longest - np.array(lengths)[:, None])
    found = []
    for function in (ours, plain):

        @tf.function(autograph=False)
        def run(*args, function=function):
            with tf.GradientTape() as tape:
                tape.watch(args)
                results = function(Packed(mask), *args)
                results = results if isinstance(results, tuple) else (results,)
                rng = np.random.default_rng(0)
                total = tf.add_n(
                    [
                        tf.reduce_sum(tf.sin(each) * rng.normal(size=each.shape[1:]))
                        for each in results[:2]
                    ]
                )
            return results, tape.gradient(total, args)

        found.append(run(*map(tf.constant, given)))
    return found


@pytest.mark.parametrize("longest", [5, 100])
def test_a_gru_whose_gate_is_scaled(float64, longest):
    rng = np.random.default_rng(1)
    lengths = [longest, longest // 2, 0]
    count = sum(lengths)
    given = [rng.normal(size=shape) for shape in ((count, 3 * D), (count, 2), (D, 3 * D))]
    (ours, by_hand), (plain, automatic) = both(
        gru.scaled_states, plain_recurrences.scaled_states, given, lengths, longest
    )
    np.testing.assert_allclose(ours[0], plain[0], atol=1e-10)
    for one, other in zip(by_hand, automatic, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)
