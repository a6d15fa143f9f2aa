"""A training step does not depend on the number of replicas."""

import json
import subprocess
import sys

import numpy as np

from model.trainer import load_trained
from tests.support.trainings import RECIPE, arguments, described, train, weights

TWO_REPLICAS = """
import json, sys, types
import tensorflow as tf
from model import trainer
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
def two():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    return strategy
trainer._STRATEGIES["mirrored"] = two
trainer.run_fn(types.SimpleNamespace(**json.load(sys.stdin)))
"""


def test_two_replicas_take_the_step_of_one(world, tmp_path):
    """Without random numbers, and with parts of equal size, up to the order of the sums."""
    recipe = RECIPE | {"batch_size": 3000, "epochs": 1, "extra_candidates": 0}
    custom = {
        "recipe": recipe | {"history_dropout": 0.0, "evaluations_per_epoch": 1},
        "model_options": "passes=1,embedding_dim=8,head_units=8",
        "retrieval": 0,  # its softmax is over the targets of a replica
    }
    alone = train(world, tmp_path / "alone", **custom)
    args = arguments(world, tmp_path / "two", distribute="mirrored", **custom)
    done = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS],
        input=json.dumps(vars(args)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    of_two, of_one = (described(tmp_path / name)["best"] for name in ("two", "alone"))
    assert of_two["step"] == of_one["step"] == 1
    np.testing.assert_allclose(of_two["train_loss"], of_one["train_loss"], rtol=1e-5)
    for got, expected in zip(weights(world, tmp_path / "two"), alone, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_the_first_stage_counts_the_targets_of_all_replicas(world, tmp_path):
    recipe = RECIPE | {"batch_size": 600, "epochs": 1, "evaluations_per_epoch": 1}
    counts = []
    for name, strategy in (("alone", "none"), ("two", "mirrored")):
        args = arguments(world, tmp_path / name, distribute=strategy, recipe=recipe)
        subprocess.run(
            [sys.executable, "-c", TWO_REPLICAS],
            input=json.dumps(vars(args)),
            capture_output=True,
            text=True,
            check=True,
        )
        head = load_trained(str(tmp_path / name / "run"), world.transform).retrieval
        counts.append(head.target_counts.numpy())
        assert counts[-1].sum() == head.targets_counted == 3000
    np.testing.assert_array_equal(*counts)
