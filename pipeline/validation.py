"""Statistics of a sample, and a component that stops the run at anomalies.

ExampleValidator records anomalies and succeeds. `AnomalyStop` reads them and fails, before any
component learns from bad data.
"""

import copy
import json
import math
import os
from collections.abc import Sequence
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx import v1 as tfx
from tfx.components.statistics_gen import executor as statistics_gen
from tfx.components.util import examples_utils
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from pipeline.errors import AnomalyError
from pipeline.examples import require_all_shards

_ROWS = "rows"


class SamplingExecutor(statistics_gen.Executor):
    """Computes statistics from about `rows` Examples of each split."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Chooses shards and the share of their rows, then runs TFDV.

        TFDV decodes everything that it reads before it samples. A shard holds the users of a range
        of hashes, so some shards are as good a sample as all.
        """
        require_all_shards(input_dict["examples"])
        rows = exec_properties.pop(_ROWS)
        examples = copy.deepcopy(artifact_utils.get_single_instance(input_dict["examples"]))
        rates, patterns = {}, {}
        for split in artifact_utils.decode_split_names(examples.split_names):
            folder = artifact_utils.get_split_uri([examples], split)
            written = examples.get_int_custom_property(f"rows_{split}")
            pattern = "*"
            if written > rows:
                pattern, read = choose_shards(fileio.listdir(folder), rows / written)
                rates[split] = rows / written / read
            patterns[split] = os.path.join(os.path.basename(folder), pattern)
        name, value = examples_utils.get_custom_split_patterns_key_and_property(patterns)
        examples.set_string_custom_property(name, value)
        exec_properties["sample_rate_by_split"] = json.dumps(rates)
        super().Do(input_dict | {"examples": [examples]}, output_dict, exec_properties)


def choose_shards(names: Sequence[str], share: float) -> tuple[str, float]:
    """A glob for the first shards, which hold at least a share of the rows.

    A glob can express "all numbers below n" only for n = 1 to 10, 20, 30, ... 100, 200 and so on.
    So it may match up to twice as many shards as needed.

    Args:
      names: names of the shards, `data_tfrecord-NUMBER-of-COUNT.gz`; numbers may be missing.
      share: share of the rows, above 0 and at most 1; rows are assumed to be spread evenly.

    Returns:
      the glob, and the share of the shards that it matches.
    """
    numbers = sorted(int(name.split("-")[1]) for name in names)
    last = numbers[math.ceil(share * len(numbers)) - 1]
    first_digit, others = int(str(last)[0]), len(str(last)) - 1
    read = sum(number < (first_digit + 1) * 10**others for number in numbers)
    digits = "0" * (4 - others) + f"[0-{first_digit}]" + "?" * others
    return f"data_tfrecord-{digits}-of-*", read / len(numbers)


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
