"""Counts the strings of vocabularies in a file at a time, for TensorFlow Transform's graph.

TensorFlow Transform's own analyzer passes each string through Beam: with histories, most of the
time of the component. Here a worker counts the strings of a whole file in arrays, and Beam passes
on the names of files. Order and content of the vocabularies are the same.
"""

import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
from tfx.dsl.io import fileio

from pipeline.ingest import arrow_files
from transforms import preprocessing

_ROWS = 2048  # parsed at once
_FEW_ROWS = 1_000_000  # of counts that are added up at once
_PARALLEL_CALLS = os.cpu_count() or 1
_TERM, _COUNT = "term", "count"
_SCHEMA = pa.schema([(_TERM, pa.binary()), (_COUNT, pa.int64())])

_Paths = dict[str, str]  # by vocabulary


def write(
    pipeline: beam.Pipeline,
    files: Sequence[str],
    spec: dict[str, Any],
    config: dict[str, Any],
    folder: str,
    advance: Callable[[int], None],
) -> None:
    """Adds to a Beam pipeline what writes a file for each vocabulary into a folder.

    Args:
      pipeline: the caller runs it.
      files: gzip TFRecord files of raw Examples, the training split.
      spec: the features of an Example.
      config: of `preprocessing.preprocessing_fn`.
      folder: all workers can write to it.
      advance: is told the rows that were counted, for the progress of the component.
    """
    _ = (
        pipeline
        | "Files" >> beam.Create(list(files))
        | "Spread" >> beam.Reshuffle()
        | "Count" >> beam.ParDo(_CountFile(spec, config, folder, advance))
        | "All counts" >> beam.combiners.ToList()
        | "Write" >> beam.Map(_write, folder, config["max_vocabulary_size"])
    )


class _CountFile(beam.DoFn):
    """Counts the strings of each vocabulary in one file, and writes the counts to files."""

    def __init__(
        self,
        spec: dict[str, Any],
        config: dict[str, Any],
        folder: str,
        advance: Callable[[int], None],
    ) -> None:
        self._spec, self._config = spec, config
        self._folder, self._advance = folder, advance

    def process(self, file: str) -> Iterable[_Paths]:
        """Beam calls this function for every file."""
        spec = {name: self._spec[name] for name in preprocessing.counted_features(self._config)}

        def parse(records: tf.Tensor) -> tuple[tf.Tensor, dict[str, tuple[tf.Tensor, tf.Tensor]]]:
            inputs = tf.io.parse_example(records, spec)
            strings = preprocessing.counted_strings(inputs, self._config)
            return tf.size(records), {name: _unique(values) for name, values in strings.items()}

        records = tf.data.TFRecordDataset(file, "GZIP").batch(_ROWS)
        batches = records.map(parse, num_parallel_calls=_PARALLEL_CALLS).prefetch(2)
        parts: dict[str, list[pa.Table]] = {}
        for rows, counts in batches.as_numpy_iterator():
            for name, columns in counts.items():
                arrays = [pa.array(columns[0], pa.binary()), pa.array(columns[1], pa.int64())]
                parts.setdefault(name, []).append(pa.table(arrays, schema=_SCHEMA))
            self._advance(int(rows))
        paths = {name: os.path.join(self._folder, f"{name}-{uuid.uuid4().hex}") for name in parts}
        for name, path in paths.items():
            arrow_files.write(path, _SCHEMA, _add_up(parts[name]).to_batches())
        yield paths


def _unique(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    values = tf.reshape(values, [-1])
    terms, _, counts = tf.unique_with_counts(tf.boolean_mask(values, values != ""))
    return terms, counts


def _add_up(tables: Sequence[pa.Table]) -> pa.Table:
    """One row for each term, with the sum of its counts."""
    summed = pa.concat_tables(tables).group_by(_TERM).aggregate([(_COUNT, "sum")])
    return pa.table([summed[_TERM], summed[f"{_COUNT}_sum"]], schema=_SCHEMA)


def _summed(paths: Sequence[str]) -> pa.Table:
    """The sum of the counts of files.

    Memory grows with the distinct terms, not with the files: those read so far are added up when
    they have as many rows as their sum.
    """
    tables = [_SCHEMA.empty_table()]
    for path in paths:
        tables.append(arrow_files.read(path))
        if sum(table.num_rows for table in tables[1:]) > max(tables[0].num_rows, _FEW_ROWS):
            tables = [_add_up(tables)]
    return _add_up(tables)


def _write(counted: Sequence[_Paths], folder: str, most: int) -> None:
    """Writes the `most` frequent terms of each vocabulary, in the order of `tft.vocabulary`."""
    for name in {name for paths in counted for name in paths}:
        parts = [paths[name] for paths in counted if name in paths]
        table = _summed(parts)
        # Descending, and terms with equal counts in descending order too.
        order = [(_COUNT, "descending"), (_TERM, "descending")]
        terms = table.sort_by(order)[_TERM].to_pylist()
        # A vocabulary is a file of lines.
        terms = [term for term in terms if b"\n" not in term and b"\r" not in term][:most]
        if not terms:
            terms = [tft.analyzers.get_empy_vocabulary_dummy_value(tf.string)[1]]
        with tf.io.gfile.GFile(os.path.join(folder, name), "wb") as file:
            file.write(b"\n".join(terms) + b"\n")
        for part in parts:
            fileio.remove(part)
