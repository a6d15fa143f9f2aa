"""Figures of metrics by slice, and of controls, for one model or several on the same axes."""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.evaluation import controls
from pipeline.evaluation.eval_config import OVERALL
from pipeline.local.page.blocks import Figure, Table
from pipeline.local.page.chart import by_series, field, layer, rule, spec
from transforms import features

_Z = 1.96  # of a 95 % interval
_SLACK = 40  # pixels of a chart beside its rows
# Name of the metric, what it is called, its unit on the axis, and what its chart says.
METRICS = (
    (
        "auc",
        "AUC",
        "AUC",
        "The probability that a positive row scores above a negative one; chance is .5.",
    ),
    ("gauc", "GAUC", "GAUC", "The mean of each user's own AUC, weighted by rows; chance is .5."),
    (
        "log_loss_gain",
        "Gain in log loss over a constant score",
        "nats",
        "Below 0 the scores are worse than the same score for all rows.",
    ),
    ("calibration", "Calibration", "calibration", "Sum of scores over sum of labels; 1 is right."),
)
_CONTROLS = {
    "popularity": "target's popularity",
    "target_item": "target's positive rate",
    "target_age": "target's age",
    "unseen_target": "target never seen",
    "own_training_windows": "own training windows",
    "other_users_history": "another user's history",
    "other_items_attributes": "other items' attributes",
    "attribute_similarity": "similar attributes",
    "model": "the model itself",
}

Metrics = Mapping[str, Mapping[str, Any]]


def slice_names(history_buckets: Mapping[str, int]) -> dict[str, str]:
    """What each slice is called; `history_buckets` is that of ingestion's `report.json`."""
    medium, long = history_buckets["medium_from"], history_buckets["long_from"]
    spans = (f"below {medium}", f"{medium} to {long - 1}", f"{long} and more")
    return {
        OVERALL: "all rows",
        **{
            f"{features.HISTORY_BUCKET}={bucket}": f"{bucket} history ({span})"
            for bucket, span in zip(features.HISTORY_BUCKETS, spans, strict=True)
        },
        **{
            f"{features.TARGET_BUCKET}={bucket}": f"target seen {bucket} times"
            if bucket != "0"
            else "target never seen"
            for bucket in features.TARGET_BUCKETS
        },
    }


def interval(metrics: Mapping[str, Any], name: str) -> tuple[float | None, float | None]:
    """The ends of a metric's 95 % interval; None where there is no standard error."""
    value, error = metrics.get(name), metrics.get(f"{name}_standard_error")
    if value is None or error is None or math.isnan(error):
        return None, None
    return value - _Z * error, value + _Z * error


def by_slice(models: Mapping[str, Metrics], names: Mapping[str, str]) -> list[Figure]:
    """One figure a metric: models beside each other, slices below each other.

    Args:
      models: metrics by slice and name, by what the model is called.
      names: what each slice is called, in order.
    """
    return [_by_slice(models, names, *metric) for metric in METRICS]


def _by_slice(
    models: Mapping[str, Metrics],
    names: Mapping[str, str],
    metric: str,
    title: str,
    unit: str,
    says: str,
) -> Figure:
    data, rows = [], []
    present = [key for key in names if any(key in metrics for metrics in models.values())]
    for key in present:
        row: list[Any] = [names[key]]
        for model, metrics in models.items():
            values = metrics.get(key, {})
            value, (low, high) = values.get(metric), interval(values, metric)
            row += [value, *([low, high] if metric != "calibration" else [])]
            if value is not None:
                data.append(
                    {
                        "slice": names[key],
                        "model": model,
                        "value": value,
                        "low": value if low is None else low,
                        "high": value if high is None else high,
                    }
                )
        rows.append(row)
    y = field("slice", "nominal", sort=[names[key] for key in present], axis={"labelLimit": 165})
    shared = {
        "y": y,
        "yOffset": {"field": "model", "type": "nominal", "sort": list(models)},
        "color": by_series("model", list(models), "color"),
    }
    scale = {"zero": False, "padding": 8}
    left = field("low", "quantitative", unit, scale=scale, axis={"tickCount": 5})
    tooltip = [
        field("slice", "nominal", "slice"),
        field("model", "nominal", "model"),
        *(field(n, "quantitative", n, format=".4f") for n in ("value", "low", "high")),
    ]
    layers = [
        layer("rule", {**shared, "x": left, "x2": {"field": "high"}}, strokeWidth=2),
        layer(
            "point",
            {
                **shared,
                "x": field("value", "quantitative", unit, scale=scale),
                "shape": by_series("model", list(models), "shape"),
                "tooltip": tooltip,
            },
            filled=True,
            size=70,
            opacity=1,
        ),
    ]
    if metric in ("calibration", "log_loss_gain"):
        layers.insert(0, rule("x", 1.0 if metric == "calibration" else 0.0))
    ends = ["from", "to"] if metric != "calibration" else []
    columns = ["slice", *(text for model in models for text in (model, *ends))]
    height = _SLACK + len(present) * (14 * len(models) + 12)
    if metric != "calibration":
        says += " Lines are 95 % intervals, from a bootstrap over users."
    return Figure(f"{title} by slice", says, spec(data, layers, height), columns, rows)


def all_metrics(models: Mapping[str, Metrics], names: Mapping[str, str]) -> Table:
    """Every metric of every slice and model."""
    shown = ("auc", "gauc", "log_loss", "constant_log_loss", "calibration", "rows", "users")
    rows = [
        [names[key], model, *(metrics[key].get(name) for name in shown)]
        for key in names
        for model, metrics in models.items()
        if key in metrics
    ]
    columns = ["slice", "model", *(name.replace("_", " ") for name in shown)]
    return Table("All metrics by slice", columns, rows, folded=True)


def control_figure(measured: Mapping[str, Any]) -> Figure:
    """The controls; `measured` is the content of `controls.json`."""
    found = measured["controls"]
    order = sorted(found, key=lambda name: -(found[name]["auc"] or 0.0))
    kinds = {"auc": "AUC", "gauc": "GAUC"}
    data = [
        {"control": _CONTROLS[name], "metric": kind, "value": found[name][key]}
        for name in order
        for key, kind in kinds.items()
        if found[name][key] is not None
    ]
    names = list(kinds.values())
    encoding = {
        "y": field("control", "nominal", sort=[_CONTROLS[name] for name in order]),
        "yOffset": {"field": "metric", "type": "nominal", "sort": names},
        "x": field(
            "value",
            "quantitative",
            "AUC, GAUC",
            scale={"zero": False, "padding": 8},
            axis={"tickCount": 6},
        ),
        "color": by_series("metric", names, "color"),
        "shape": by_series("metric", names, "shape"),
        "tooltip": [
            field("control", "nominal", "control"),
            field("metric", "nominal", "metric"),
            field("value", "quantitative", "value", format=".3f"),
        ],
    }
    layers = [rule("x", 0.5), layer("point", encoding, filled=True, size=70, opacity=1)]
    rows = [[controls.NAMES[name], found[name]["auc"], found[name]["gauc"]] for name in order]
    return Figure(
        "Controls",
        "Baselines without the user's history, or with wrong inputs. Near the dashed line at .5 "
        "the samples do not leak the label. A model that does not beat them is broken.",
        spec(data, layers, _SLACK + 36 * len(order)),
        ["control", "AUC", "GAUC"],
        rows,
    )


def differences(runs: Mapping[str, Metrics], names: Mapping[str, str]) -> Table:
    """AUC, GAUC and log loss of two runs, by name, and by how much the second is higher."""
    old, new = runs.values()
    rows = []
    for key in names:
        if key in old and key in new:
            for name, title in (("auc", "AUC"), ("gauc", "GAUC"), ("log_loss", "log loss")):
                first, second = old[key].get(name), new[key].get(name)
                more = None if first is None or second is None else f"{second - first:+.4f}"
                rows.append([names[key], title, first, second, more])
    columns = ["slice", "metric", *runs, "difference"]
    return Table("Differences by slice", columns, rows)
