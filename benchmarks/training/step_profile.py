"""Share of each operation in a training step, by TensorFlow's profiler."""

import collections
import glob
import tempfile
from typing import Any

import tensorflow as tf

from benchmarks.training import measurements, steps
from experiments import speed

_STEPS = 5
_SHOWN = 12


def top_operations(measurement: steps.Measurement) -> dict[str, Any]:
    """The operations with the largest shares of a step.

    Returns:
      `operations`: a list with `operation`, `share` of the time of all kernels, and
      `calls` per step. Times of kernels that run in parallel are added.
    """
    measurements.use_threads(measurement.threads)
    ranker, recipe = measurements.build(measurement.model, measurement.length, measurement.items)
    batches = [
        measurements.constants(batch)
        for batch in steps.batches(measurement.length, measurement.batch_size, measurement.items)
    ]
    step = speed.training_step(ranker, recipe, batches[0])
    for batch in batches:
        step(batch)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for number in range(_STEPS):
                step(batches[number % len(batches)])
        files = glob.glob(f"{folder}/plugins/profile/*/*.xplane.pb")
        time, calls = _kernels(files)
    total = sum(time.values())
    return {
        "operations": [
            {"operation": name, "share": spent / total, "calls": calls[name] / _STEPS}
            for name, spent in time.most_common(_SHOWN)
        ]
    }


def _kernels(files: list[str]) -> tuple[collections.Counter, collections.Counter]:
    """Picoseconds and calls by kind of operation, from the profiler's files."""
    try:
        from tensorflow.tsl.profiler.protobuf import xplane_pb2
    except ImportError:  # TensorFlow after 2.15
        from tensorflow.core.profiler.protobuf import xplane_pb2
    time: collections.Counter = collections.Counter()
    calls: collections.Counter = collections.Counter()
    for file in files:
        space = xplane_pb2.XSpace()
        with open(file, "rb") as content:
            space.ParseFromString(content.read())
        for plane in space.planes:
            for line in plane.lines:
                for event in line.events:
                    # The event of a kernel is named "NODE:KIND".
                    node, colon, kind = plane.event_metadata[event.metadata_id].name.partition(":")
                    if node and colon and kind.isidentifier():
                        time[kind] += event.duration_ps
                        calls[kind] += 1
    return time, calls
