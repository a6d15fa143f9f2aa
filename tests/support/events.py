"""Reads TensorBoard's events of a training."""

import collections
import pathlib
from typing import Any

import tensorflow as tf


def values(logs: pathlib.Path) -> dict[str, dict[str, list[tuple[int, Any]]]]:
    """By run and tag, the step and the value of each summary, in the order of the files."""
    found: dict[str, Any] = collections.defaultdict(lambda: collections.defaultdict(list))
    for file in sorted(logs.glob("*/events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                found[file.parent.name][value.tag].append((event.step, value))
    return found


def scalars(logs: pathlib.Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """The scalars by run and tag: the step and the number of each point."""
    return {
        run: {
            tag: [(step, float(tf.make_ndarray(value.tensor))) for step, value in points]
            for tag, points in tags.items()
            if points[0][1].metadata.plugin_data.plugin_name == "scalars"
        }
        for run, tags in values(logs).items()
    }
