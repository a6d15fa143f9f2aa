"""The benchmark of workers: the samples that it trains on, and its table."""

import numpy as np
import tensorflow as tf

from benchmarks.training import steps
from benchmarks.training.workers import __main__ as workers
from benchmarks.training.workers import measurement
from model.training import data


def test_the_files_hold_the_synthetic_batches(tmp_path):
    measurement.write_samples(tmp_path, 5, 3)
    expected = steps.batch(5, 3, steps.ITEMS, 2)
    spec = {
        name: tf.io.FixedLenFeature(values.shape[1:], tf.int64) for name, values in expected.items()
    }
    (got,) = data.evaluation_batches([str(tmp_path / "train-2.gz")], spec, 10)
    for name, values in expected.items():
        np.testing.assert_array_equal(got[name], values)
    assert (tmp_path / "eval.gz").exists()


def test_the_table_has_the_fastest_round_and_its_ratio_to_one_worker():
    speeds = {"1 worker, 1 core": [100.0, 200.0, 150.0], "2 workers, 1 core each": [310.0, 290.0]}
    last = workers._table(speeds).splitlines()[-1]
    assert last == "| 2 workers, 1 core each | 310 | 290 to 310 | 1.55 |"
