"""Statistics of a sample, and a component that stops the run at anomalies.

ExampleValidator records anomalies and succeeds. `AnomalyStop` reads them and fails, before any
component learns from bad data.
"""

import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx_bsl.coders import example_coder

from pipeline.errors import AnomalyError
from pipeline.examples import require_all_shards, row_count
from pipeline.progress import Progress

_ROWS = "rows"
_FILE = "FeatureStats.pb"
_BATCH = 1024


class SamplingExecutor(base_beam_executor.BaseBeamExecutor):
    """Computes statistics from about `rows` Examples of each split.

    Unlike TFX's executor it reads only as many files as the sample needs, and tells its progress.
    A file holds the users of a range of hashes, so some files are as good a sample as all.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs TFDV on each split.

        Raises:
          InputError: if a file of the Examples is missing.
        """
        require_all_shards(input_dict["examples"])
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        made = artifact_utils.get_single_instance(output_dict["statistics"])
        made.split_names, made.span = examples.split_names, examples.span
        files: dict[str, list[str]] = {}
        rates: dict[str, float | None] = {}
        total = 0
        for split in artifact_utils.decode_split_names(examples.split_names):
            folder = artifact_utils.get_split_uri([examples], split)
            written = row_count(examples, split)
            share = min(1.0, exec_properties[_ROWS] / max(written, 1))
            names = sorted(os.path.basename(str(name)) for name in fileio.listdir(folder))
            chosen = names[: math.ceil(share * len(names))]
            files[split] = [os.path.join(folder, name) for name in chosen]
            # Of the rows in these files; None is all.
            rates[split] = share * len(names) / len(chosen) if share < 1 else None
            total += round(written * len(chosen) / max(len(names), 1))
        with (
            Progress("StatisticsGen", total) as progress,
            self._make_beam_pipeline() as pipeline,
        ):
            for split, paths in files.items():
                path = os.path.join(artifact_utils.get_split_uri([made], split), _FILE)
                _ = (
                    pipeline
                    | f"Files of {split}" >> beam.Create(paths)
                    | f"Spread {split}" >> beam.Reshuffle()
                    | f"Read {split}" >> beam.FlatMap(_read, progress.advance)
                    | f"Statistics of {split}"
                    >> tfdv.GenerateStatistics(tfdv.StatsOptions(sample_rate=rates[split]))
                    | f"Write {split}" >> tfdv.WriteStatisticsToBinaryFile(path)
                )


def _read(file: str, advance: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    """The Examples of a file as Arrow batches."""
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    records = tf.data.TFRecordDataset(file, "GZIP").batch(_BATCH).prefetch(2)
    for batch in records.as_numpy_iterator():
        yield decoder.DecodeBatch(batch.tolist())
        advance(len(batch))


class SampledStatisticsGen(tfx.components.StatisticsGen):
    """StatisticsGen that samples splits with more than `rows` Examples."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(SamplingExecutor)

    def __init__(self, examples: types.BaseChannel, rows: int):
        super().__init__(examples=examples)
        self.exec_properties[_ROWS] = rows


def describe(anomalies_by_split: dict[str, anomalies_pb2.Anomalies]) -> list[str]:
    """One line for each anomaly: split, feature, reason."""
    lines = []
    for split, anomalies in anomalies_by_split.items():
        for name, info in sorted(anomalies.anomaly_info.items()):
            reasons = "; ".join(reason.description for reason in info.reason) or info.description
            lines.append(f"{split}, {name}: {reasons}")
        if anomalies.HasField("dataset_anomaly_info"):
            lines.append(f"{split}: {anomalies.dataset_anomaly_info.description}")
    return lines


@tfx.dsl.components.component
def AnomalyStop(anomalies: InputArtifact[tfx.types.standard_artifacts.ExampleAnomalies]) -> None:
    """Stops the run if ExampleValidator recorded an anomaly.

    Raises:
      AnomalyError: with one line for each anomaly, and where to read more.
    """
    found = {}
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        folder = artifact_utils.get_split_uri([anomalies], split)
        with fileio.open(os.path.join(folder, "SchemaDiff.pb"), "rb") as file:
            found[split] = anomalies_pb2.Anomalies.FromString(file.read())
    lines = describe(found)
    if lines:
        raise AnomalyError(
            "The Examples disagree with the schema (pipeline/schema.pbtxt):\n  "
            + "\n  ".join(lines)
            + f"\nRecorded in {anomalies.uri}. Correct the ratings, or the schema if the data is "
            "right (`make schema` proposes one), and run again."
        )
