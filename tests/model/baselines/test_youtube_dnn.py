"""YouTube DNN: the mean of the filled places, a row at a time."""

import numpy as np
import tensorflow as tf

from model.baselines.youtube_dnn import MeanPooling, YoutubeDNNConfig

L, D = 6, 4
LENGTHS = [6, 3, 1, 0]


def test_the_user_is_the_mean_of_the_events(float64):
    rng = np.random.default_rng(0)
    mask = np.arange(L) >= L - np.array(LENGTHS)[:, None]
    history = rng.normal(size=(len(LENGTHS), L, D)) * mask[:, :, None]
    targets = tf.constant(rng.normal(size=(len(LENGTHS), 3, D)))
    got = MeanPooling(YoutubeDNNConfig())(tf.constant(history), tf.constant(mask), targets).numpy()
    assert got.shape == (len(LENGTHS), 1, D)
    for row, length in enumerate(LENGTHS):
        expected = np.mean(history[row, L - length :], axis=0) if length else np.zeros(D)
        np.testing.assert_allclose(got[row, 0], expected, atol=1e-12)
