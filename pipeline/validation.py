"""Statistics of bounded cost, and the stop that TFX leaves out.

ExampleValidator records anomalies and succeeds; `AnomalyStop` reads what it
recorded and fails, upstream of everything that would learn from bad data.
"""

import json
import os
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx import v1 as tfx
from tfx.components.statistics_gen import executor as statistics_gen
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from pipeline.errors import AnomalyError
from transforms import features

_ROWS = "rows"


class SamplingExecutor(statistics_gen.Executor):
    """Statistics from at most about `rows` Examples of each split."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Sets each split's sample rate from the row counts that ingestion left, then runs TFDV."""
        rows = exec_properties.pop(_ROWS)
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        rates = {
            split: rows / examples.get_int_custom_property(f"rows_{split}")
            for split in features.SPLITS
            if examples.get_int_custom_property(f"rows_{split}") > rows
        }
        exec_properties["sample_rate_by_split"] = json.dumps(rates)
        super().Do(input_dict, output_dict, exec_properties)


class SampledStatisticsGen(tfx.components.StatisticsGen):
    """StatisticsGen over a sample where a split has more than `rows` Examples."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(SamplingExecutor)

    def __init__(self, examples: types.BaseChannel, rows: int):
        super().__init__(examples=examples)
        self.exec_properties[_ROWS] = rows


def describe(anomalies_by_split: dict[str, anomalies_pb2.Anomalies]) -> list[str]:
    """One line an anomaly: split, feature, what is wrong. Empty where nothing is."""
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
    """Stops the run when ExampleValidator recorded an anomaly.

    Raises:
      AnomalyError: with one line an anomaly and where to read more.
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
            + f"\nRecorded in {anomalies.uri}. Mend the ratings, or, where the data is right, the "
            "schema (`make schema` proposes one), and run again."
        )
