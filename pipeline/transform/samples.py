"""Transforms a file of raw Examples at a time, in large batches.

TFX's own way passes each record through Beam, in Python, several times. Here a worker reads,
parses and transforms the records of a file in TensorFlow, and the encoder writes batches.
"""

import functools
import os
import uuid
from collections.abc import Callable, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
from tfx.dsl.io import fileio
from tfx_bsl.coders import example_coder

from pipeline.ingest import tfrecord_writer

_ROWS = 1024  # transformed at once
_PARALLEL_CALLS = os.cpu_count() or 1


def write(
    pipeline: beam.Pipeline,
    graph: str,
    files: Sequence[str],
    folder: str,
    advance: Callable[[int], None],
) -> None:
    """Adds to a Beam pipeline what transforms the files of a split.

    Writes one file of transformed samples for each file of raw Examples, with its rows in its
    order, so the same Examples give the same files wherever they are transformed.

    Args:
      pipeline: the caller runs it.
      graph: the Transform graph.
      files: gzip TFRecord files of raw Examples.
      folder: of the split; all workers can write to it.
      advance: is told the rows that were transformed, for the progress of the component.
    """
    shards = [
        (file, os.path.join(folder, f"transformed_examples-{number:05}-of-{len(files):05}.gz"))
        for number, file in enumerate(files)
    ]
    name = os.path.basename(folder)
    _ = (
        pipeline
        | f"Files of {name}" >> beam.Create(shards)
        | f"Spread {name}" >> beam.Reshuffle()
        | f"Transform {name}" >> beam.Map(_transform, graph, advance)
    )


class _Graph:
    """A loaded Transform graph, and the encoder of its outputs."""

    def __init__(self, graph: str) -> None:
        output = tft.TFTransformOutput(graph)
        layer, spec = output.transform_features_layer(), output.raw_feature_spec()
        schema = output.transformed_metadata.schema
        self.function = tf.function(lambda records: layer(tf.io.parse_example(records, spec)))
        self._names = [feature.name for feature in schema.feature]
        self._encoder = example_coder.RecordBatchToExamplesEncoder(schema)

    def encode(self, rows: dict[str, np.ndarray]) -> list[bytes]:
        """Serialized Examples of transformed features, all int64 `(B, K)`."""
        columns = []
        for name in self._names:
            values = rows[name]
            offsets = np.arange(len(values) + 1) * values.shape[1]
            columns.append(pa.LargeListArray.from_arrays(offsets, values.reshape(-1)))
        return self._encoder.encode(pa.RecordBatch.from_arrays(columns, self._names))


@functools.lru_cache(maxsize=1)
def _loaded(graph: str) -> _Graph:
    """Loaded once for each process; a graph has its own folder in every run."""
    return _Graph(graph)


def _transform(shard: tuple[str, str], graph: str, advance: Callable[[int], None]) -> None:
    file, path = shard
    loaded = _loaded(graph)
    records = tf.data.TFRecordDataset(file, "GZIP").batch(_ROWS)
    batches = records.map(loaded.function, num_parallel_calls=_PARALLEL_CALLS).prefetch(2)
    fileio.makedirs(os.path.dirname(path))
    # The trainer reads all files of the folder of a split, so a part of one lies beside it.
    temporary = f"{os.path.dirname(path)}-{uuid.uuid4().hex}"
    with tfrecord_writer.Writer(temporary) as writer:
        for batch in batches.as_numpy_iterator():
            examples = loaded.encode(batch)
            writer.write(examples)
            advance(len(examples))
    fileio.rename(temporary, path, overwrite=True)
