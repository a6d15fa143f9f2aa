"""One worker of one measurement: trains on the samples of a folder with the trainer's own loop."""

import argparse
import json
import os
import pathlib

from benchmarks.training import steps

STEPS = 150  # of a measurement; TensorBoard's first point, 50 steps, has the compilation
_FILES = 10


def write_samples(folder: pathlib.Path, length: int, batch_size: int) -> None:
    """Writes full histories of synthetic items: `_FILES` batches of training, one of eval."""
    import tensorflow as tf

    options = tf.io.TFRecordOptions(compression_type="GZIP")
    for seed in range(_FILES + 1):
        name = f"train-{seed}" if seed < _FILES else "eval"
        columns = steps.batch(length, batch_size, steps.ITEMS, seed)
        with tf.io.TFRecordWriter(str(folder / f"{name}.gz"), options) as writer:
            for row in range(batch_size):
                feature = {
                    key: tf.train.Feature(int64_list=tf.train.Int64List(value=values[row]))
                    for key, values in columns.items()
                }
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())


def main() -> None:
    """Trains, and prints examples/s by TensorBoard's points as JSON if this is the chief."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--cores", type=int, nargs="+", required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    options = parser.parse_args()
    # Before TensorFlow makes its threads, one for each core.
    os.sched_setaffinity(0, options.cores)
    print(json.dumps(_train(options)))


def _train(options: argparse.Namespace) -> list[float]:
    import tensorflow as tf

    from model import presets
    from model.ranker import build_ranker
    from model.scorer import DataSpec
    from model.training import cluster
    from model.training.loop import Training

    strategy = tf.distribute.get_strategy()
    if cluster.VARIABLE in os.environ:
        cluster.meet(cluster.read(os.environ), 600)
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    config, recipe = presets.resolve(
        options.model,
        "",
        {"batch_size": options.batch_size, "epochs": 1, "evaluations_per_epoch": 1},
    )
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        inputs = DataSpec(steps.ITEMS, options.length)
        ranker = build_ranker(config, inputs, recipe)
    spec = {
        key: tf.io.FixedLenFeature(values.shape[1:], tf.int64)
        for key, values in steps.batch(options.length, 1, steps.ITEMS, 0).items()
    }
    files = sorted(map(str, options.folder.glob("train-*.gz")))
    training = Training(
        ranker,
        recipe,
        files * (STEPS // len(files)),
        [str(options.folder / "eval.gz")],
        spec,
        str(options.output / "checkpoints"),
        str(options.output / "logs"),
        strategy,
    )
    training.run()
    return _speeds(options.output / "logs" / "train") if training.chief else []


def _speeds(folder: pathlib.Path) -> list[float]:
    """Examples/s of the points of TensorBoard after the first."""
    import tensorflow as tf

    found = []
    for file in folder.glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                if value.tag == "speed/examples_per_second":
                    found.append(float(tf.make_ndarray(value.tensor)))
    return found[1:]


if __name__ == "__main__":
    main()
