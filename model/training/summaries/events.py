"""Files of TensorBoard's events: writes points, and continues the files of a killed training."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.scalar.summary_v2 import scalar_pb

_PATTERN = "events.out.tfevents.*"


class Events:
    """The events of one run of TensorBoard, a folder.

    All values of a step are written by one operation: one for each value, as `tf.summary.scalar`
    does, would take ten times as long.

    Args:
      folder: of the files.
    """

    def __init__(self, folder: str):
        self._writer = tf.summary.create_file_writer(folder)

    def write(self, step: int, summaries: Sequence[Any]) -> None:
        """Writes protos of summaries for a step."""
        # Protos of repeated values, one after the other, are one proto with all of them.
        merged = b"".join(summary.SerializeToString() for summary in summaries)
        with self._writer.as_default(step):
            tf.summary.experimental.write_raw_pb(merged)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes numbers by tag."""
        self.write(step, [scalar_pb(tag, value) for tag, value in values.items()])

    def image(self, step: int, tag: str, pixels: np.ndarray, about: str) -> None:
        """Writes a picture `(H, W, 4)`, with a description."""
        with self._writer.as_default(step):
            tf.summary.image(tag, pixels[None], description=about)

    def graph(self, graph: tf.Graph) -> None:
        """Writes a graph."""
        with self._writer.as_default(0):
            tf.summary.graph(graph)

    def flush(self) -> None:
        """Writes to disk what is buffered."""
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()


def histogram(tag: str, values: np.ndarray) -> Any:
    """The summary of a histogram of any array."""
    return histogram_pb(tag, np.asarray(values, np.float64).reshape(-1))


def continue_from(old: str, new: str, step: int) -> None:
    """Moves the events of a killed training up to the step from which it is resumed.

    Later events are left out, because the training will write them again.

    Args:
      old: folder in which the killed training wrote, with a folder for each run.
      new: the folder of the training that resumes it; may be the same.
      step: the last step to keep.
    """
    for path in sorted(tf.io.gfile.glob(os.path.join(old, "*", _PATTERN))):
        folder = os.path.join(new, os.path.basename(os.path.dirname(path)))
        tf.io.gfile.makedirs(folder)
        # TensorBoard does not read it before it has its name.
        unfinished = os.path.join(folder, f"unfinished-{os.path.basename(path)}")
        with tf.io.TFRecordWriter(unfinished) as writer:
            for event in _readable(path):
                if event.step <= step:
                    writer.write(event.SerializeToString())
        tf.io.gfile.remove(path)
        tf.io.gfile.rename(unfinished, os.path.join(folder, os.path.basename(path)), overwrite=True)


def _readable(path: str) -> Any:
    """The events of a file, until its end or the record at which the training was killed."""
    try:
        yield from tf.compat.v1.train.summary_iterator(path)
    except tf.errors.DataLossError:
        return
