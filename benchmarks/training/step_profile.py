"""Which operations a step spends its time in, by TensorFlow's own profiler."""

import collections
import glob
import tempfile
from typing import Any

import tensorflow as tf

from benchmarks.training import measurements, steps
from experiments import speed

_STEPS = 5
_SHOWN = 12


def top_operations(cell: steps.Measurement) -> dict[str, Any]:
    """The kinds of operations that take most of a step of a cell's row.

    Returns:
      `operations`: for each of the largest its `operation`, `share` of all kernels'
      time and `calls` a step. Kernels that run beside each other count with their
      sum.
    """
    measurements.use_threads(cell.threads)
    ranker, recipe = measurements.build(cell.model, cell.length, cell.items)
    given = [
        measurements.constants(batch)
        for batch in steps.batches(cell.length, cell.batch_size, cell.items)
    ]
    step = speed.training_step(ranker, recipe, given[0])
    for batch in given:
        step(batch)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for place in range(_STEPS):
                step(given[place % len(given)])
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
    """Picoseconds and calls by kind of operation, from what the profiler wrote."""
    try:
        from tensorflow.tsl.profiler.protobuf import xplane_pb2
    except ImportError:  # moved between releases
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
                    # A kernel's event is called "name of the node:kind of operation".
                    node, colon, kind = plane.event_metadata[event.metadata_id].name.partition(":")
                    if node and colon and kind.isidentifier():
                        time[kind] += event.duration_ps
                        calls[kind] += 1
    return time, calls
