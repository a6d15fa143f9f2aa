"""A training does not depend on the number of replicas on a machine."""

import json
import os
import subprocess
import sys

import numpy as np

from model.trainer import load_trained
from tests.support import exchanged_rows
from tests.support.trainings import RECIPE, SEPARABLE, arguments, described, train, weights

TWO_REPLICAS = """
import json, sys, types
import tensorflow as tf
from model import replicas, trainer
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
def two():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    labels = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant([[1, 0, 1, 0, 0], [1]][context.replica_id_in_sync_group])
    )
    found = strategy.run(replicas.weights, args=(labels,))
    print([[float(each) for each in strategy.experimental_local_results(of)] for of in found])
    return strategy
trainer._STRATEGIES["mirrored"] = two
trainer.run_fn(types.SimpleNamespace(**json.load(sys.stdin)))
"""


def train_two(args, **environ):
    done = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS],
        input=json.dumps(vars(args)),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environ,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[0])


def test_two_replicas_take_the_steps_of_one(world, tmp_path):
    """Without random numbers, for 90 steps with parts of different size."""
    alone = train(world, tmp_path / "alone", **SEPARABLE)
    rows = tmp_path / "rows"
    rows.mkdir()
    args = arguments(world, tmp_path / "two", distribute="mirrored", **SEPARABLE)
    rows_weights, positives_weights = train_two(args, **{exchanged_rows.FOLDER: str(rows)})
    of_two, of_one = (described(tmp_path / name) for name in ("two", "alone"))
    for two, one in zip(of_two["evaluations"], of_one["evaluations"], strict=True):
        assert two["step"] == one["step"]
        for name in ("train_loss", "train_auc", "eval_auc", "eval_loss"):
            np.testing.assert_allclose(two[name], one[name], atol=1e-3)
    for got, expected in zip(weights(world, tmp_path / "two"), alone, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-3)

    # Sparse gradients: what is applied is the rows of both parts of a batch, not the table.
    first, second = (exchanged_rows.read(rows)[replica] for replica in (0, 1))
    assert len(first) == 90
    for own in (first, second):
        np.testing.assert_array_equal(own[:, 1], first[:, 0] + second[:, 0])

    # Of 6 rows, replica 0 has 5 and replica 1 one; of 3 positives, 2 and 1.
    np.testing.assert_allclose(rows_weights, [2 * 5 / 6, 2 * 1 / 6], rtol=1e-6)
    np.testing.assert_allclose(positives_weights, [2 * 2 / 3, 2 * 1 / 3], rtol=1e-6)


def test_the_first_stage_counts_the_targets_of_all_replicas(world, tmp_path):
    recipe = RECIPE | {"batch_size": 600, "epochs": 1, "evaluations_per_epoch": 1}
    train(world, tmp_path / "alone", recipe=recipe)
    train_two(arguments(world, tmp_path / "two", distribute="mirrored", recipe=recipe))
    counts = []
    for name in ("alone", "two"):
        head = load_trained(str(tmp_path / name / "run"), world.transform).retrieval
        counts.append(head.target_counts.numpy())
        assert counts[-1].sum() == head.targets_counted == 3000
    np.testing.assert_array_equal(*counts)
