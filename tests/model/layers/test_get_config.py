"""Every layer can be created again from its config, alone, and computes the same."""

import json

import numpy as np
import pytest
import tensorflow as tf

from model import presets
from model.baselines.dice import Dice
from model.baselines.mimn import GRUWeights
from model.baselines.sasrec import Block
from model.layers.attention import MultiwayAttention
from model.layers.encoder import HistoryEncoder
from model.layers.enhancement import MemoryEnhancement
from model.layers.gru import GatedRecurrence
from model.layers.head import Head
from model.layers.memory import MemoryUpdate

B, L, K, D = 3, 5, 2, 8
rng = np.random.default_rng(0)
HISTORY = tf.constant(rng.normal(size=(B, L, D)), tf.float32)
MASK = tf.constant([[False, False, True, True, True], [True] * 5, [False] * 5])
TARGETS = tf.constant(rng.normal(size=(B, K, D)), tf.float32)
ITEMS = tf.constant(rng.integers(1, 20, (B, L)))
LENGTH = tf.constant([3, 5, 0], tf.int64)
LAYERS = {
    "dice": (Dice(momentum=0.9, epsilon=1e-6), (TARGETS[:, 0],)),
    "sasrec block": (Block(dropout=0.3), (HISTORY, MASK)),
    "attention": (
        MultiwayAttention(4, 2, "softmax", differences=False),
        (HISTORY, MASK, TARGETS, TARGETS),
    ),
    "encoder": (HistoryEncoder(20, D, 3, initial_scale=0.5), (ITEMS, LENGTH, ITEMS)),
    "encoder with event fields": (
        HistoryEncoder(20, D, 3, event_fields={"a": 20}),
        (ITEMS, LENGTH, ITEMS, None, {"history_a": ITEMS}),
    ),
    "enhancement": (MemoryEnhancement(2, "random"), (TARGETS, TARGETS)),
    "gru": (GatedRecurrence(D, "passing_on"), (HISTORY, MASK)),
    "head": (Head((6, 4), product=False, batch_norm=True, l2=0.1), (TARGETS, TARGETS)),
    "memory": (
        MemoryUpdate(2, share_attention=True, attention={"units": 4}, start="random"),
        (HISTORY, MASK, TARGETS),
    ),
} | {
    name: (presets.resolve(name)[0].block(), (HISTORY, MASK, TARGETS))
    for name in sorted(presets.PRESETS)
}


def with_width(config):
    """The config with embeddings as wide as the test's."""
    if "config" in config:
        config = config | {"config": config["config"] | {"embedding_dim": D}}
    return config


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_created_again_from_its_config(name):
    layer, arguments = LAYERS[name]
    config = with_width(json.loads(json.dumps(layer.get_config())))  # as Keras stores it
    first, second = (type(layer).from_config(config) for _ in range(2))
    expected = first(*arguments)
    second(*arguments)
    assert [tuple(v.shape) for v in first.weights] == [tuple(v.shape) for v in second.weights]
    second.set_weights(first.get_weights())
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), expected, second(*arguments)
    )
    assert with_width(second.get_config()) == with_width(first.get_config())


def test_weights_of_a_gru():
    layer = GRUWeights(D, "passing_on")
    again = GRUWeights.from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer.input_terms(TARGETS[:, 0]), again.input_terms(TARGETS[:, 0]))
