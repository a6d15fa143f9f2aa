"""AUC, GAUC, log loss and calibration as a TFMA metric, computed in Beam.

TFMA has no GAUC, its AUC counts thresholds, and its cross-entropy is not a
number where a score saturates. Its `query_key` would group rows by user, but
feeds a user whole into every slice that one of the user's rows touches, so a
slice by target would be judged on rows outside of it. Here a slice's rows are
gathered as compact arrays and everything is computed once they are complete.
"""

import array
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

from pipeline.errors import InputError
from pipeline.evaluation import ranking_metrics
from transforms import features

METRICS = (
    "rows",
    "users",
    "users_counted",
    "users_skipped",
    "auc",
    "gauc",
    "log_loss",
    "calibration",
    "auc_replicates",
    "gauc_replicates",
)
_Row = tuple[int, int, list[float]]
_Rows = tuple[array.array, array.array, list[array.array]]


class RankingMetrics(metric_types.Metric):
    """The metrics of `ranking_metrics.ranking_metrics`, correct for slices by any key.

    Memory: 13 bytes a row and slice with one model (hash of the user 8, label 1,
    score 4), 17 with a baseline, on the worker that completes the slice.
    """

    def __init__(self, name: str = "ranking_metrics") -> None:
        super().__init__(_computations, name=name)


def _computations(
    name: str,
    eval_config: config_pb2.EvalConfig,
    model_names: list[str],
) -> metric_types.MetricComputations:
    """TFMA calls this function."""
    keys = [
        metric_types.MetricKey(name=metric, model_name=model)
        for model in model_names
        for metric in METRICS
    ]
    return [
        metric_types.MetricComputation(
            keys=keys,
            preprocessors=[_CompactRow(name, eval_config, model_names)],
            combiner=_GatherRows(model_names),
        )
    ]


def user_hash(user: bytes) -> int:
    """A 64-bit hash of a user id, the same in every process and on every platform."""
    return int.from_bytes(hashlib.blake2b(user, digest_size=8).digest(), "little")


class _CompactRow(metric_types.Preprocessor):
    """Extracts user, label and the models' scores before TFMA slices."""

    def __init__(
        self, name: str, eval_config: config_pb2.EvalConfig, model_names: list[str]
    ) -> None:
        super().__init__(name=name)
        self._eval_config, self._model_names = eval_config, model_names

    def process(self, extracts: Any) -> Iterator[_Row]:
        """TFMA calls this function for every row."""
        inputs = metric_types.StandardMetricInputs(extracts)
        user = (inputs.get_features() or {}).get(features.USER_ID)
        if user is None or np.size(user) != 1:
            raise InputError(
                f"`{features.USER_ID}` must hold one value in every Example: GAUC needs it. "
                f"Received: {user!r}."
            )
        label, scores = 0, []
        for model_name in self._model_names:
            ((one_label, score, _),) = metric_util.to_label_prediction_example_weight(
                inputs, eval_config=self._eval_config, model_name=model_name
            )
            label = int(one_label.item())
            scores.append(score.item())
        if label not in (0, 1):
            raise InputError(f"`{features.LABEL}` must be 0 or 1. Received: {label}.")
        yield user_hash(np.asarray(user).item()), label, scores


class _GatherRows(beam.CombineFn):
    """Collects a slice's rows and computes the metrics at the end."""

    def __init__(self, model_names: list[str]) -> None:
        self._model_names = model_names

    def create_accumulator(self) -> _Rows:
        return array.array("Q"), array.array("b"), [array.array("f") for _ in self._model_names]

    def add_input(self, accumulator: _Rows, row: _Row) -> _Rows:
        users, labels, scores = accumulator
        user, label, row_scores = row
        users.append(user)
        labels.append(label)
        for column, score in zip(scores, row_scores, strict=True):
            column.append(score)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Rows]) -> _Rows:
        merged = self.create_accumulator()
        for users, labels, scores in accumulators:
            merged[0].extend(users)
            merged[1].extend(labels)
            for column, more in zip(merged[2], scores, strict=True):
                column.extend(more)
        return merged

    def extract_output(self, accumulator: _Rows) -> dict[metric_types.MetricKey, Any]:
        users, labels, scores = accumulator
        result = {}
        for model_name, column in zip(self._model_names, scores, strict=True):
            metrics = ranking_metrics.ranking_metrics(
                np.frombuffer(users, np.uint64),
                np.frombuffer(column, np.float32),
                np.frombuffer(labels, np.int8),
            )
            for name, value in metrics.items():
                result[metric_types.MetricKey(name=name, model_name=model_name)] = value
        return result
