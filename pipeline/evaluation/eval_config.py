"""The EvalConfig of the Evaluator, and how TFMA's results are read back."""

from typing import Any

import numpy as np
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

from transforms import features

SIGNATURE = "serving_default"
SCORE = "score"
CANDIDATE, BASELINE = "candidate", "baseline"
OVERALL = "overall"
_COUNTS = ("rows", "users", "users_counted", "users_skipped")
LONG = f"{features.HISTORY_BUCKET}={features.HISTORY_BUCKETS[-1]}"


def eval_config() -> config_pb2.EvalConfig:
    """Compares candidate and baseline overall, by history length and by target frequency.

    TFX removes the baseline if there is none. Slices use raw features, because candidate and
    baseline have different vocabularies. There are no thresholds: `pipeline.evaluation.gate`
    judges.
    """

    def model(name: str) -> config_pb2.ModelSpec:
        return config_pb2.ModelSpec(
            name=name,
            signature_name=SIGNATURE,
            prediction_key=SCORE,
            label_key=features.LABEL,
            is_baseline=name == BASELINE,
        )

    return config_pb2.EvalConfig(
        model_specs=[model(CANDIDATE), model(BASELINE)],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=[features.HISTORY_BUCKET]),
            config_pb2.SlicingSpec(feature_keys=[features.TARGET_BUCKET]),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(
                        class_name="RankingMetrics", module="pipeline.evaluation.scored.tfma_metric"
                    )
                ]
            )
        ],
    )


def load_metrics(evaluation_dir: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Metrics by model (`candidate`, and `baseline` if there was one), slice and name.

    Slices are named `overall` or `FEATURE=VALUE`. The metrics are those of
    `ranking_metrics.ranking_metrics`.
    """
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for sliced in writer.load_and_deserialize_metrics(evaluation_dir):
        columns = sliced.slice_key.single_slice_keys
        name = ",".join(f"{c.column}={c.bytes_value.decode()}" for c in columns) or OVERALL
        for pair in sliced.metric_keys_and_values:
            if not pair.key.is_diff:
                # TFMA leaves the name out if there is one model.
                model = result.setdefault(pair.key.model_name or CANDIDATE, {})
                model.setdefault(name, {})[pair.key.name] = _value(pair.key.name, pair.value)
    return result


def _value(name: str, value: Any) -> Any:
    if value.HasField("array_value"):
        return np.array(value.array_value.float64_values)
    return int(value.double_value.value) if name in _COUNTS else value.double_value.value
