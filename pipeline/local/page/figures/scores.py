"""Figures of scores and of training: ROC, calibration plot, score histogram, learning curves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.evaluation.diagnostics.curves import BINS, POINTS, POSITIVES, ROC, ROWS, SCORES
from pipeline.local.page.blocks import Figure
from pipeline.local.page.chart import by_series, field, layer, lines, rule, spec

_Z = 1.96
_UNIT = {"domain": [0, 1]}
_DIAGONAL = [{"x": 0, "y": 0}, {"x": 1, "y": 1}]

Curves = Mapping[str, Mapping[str, Sequence[Any]]]


def _diagonal(x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    """The line from (0, 0) to (1, 1), with the axes of `x` and `y`."""
    encoding = {"x": {**x, "field": "x"}, "y": {**y, "field": "y"}}
    return layer("line", encoding, _DIAGONAL, color="var(--quiet)", strokeDash=[3, 3])


def roc(models: Curves) -> Figure:
    """The ROC of each model; `models` is by name, then `curves.NAMES`."""
    rates = np.linspace(0, 1, POINTS).round(2).tolist()
    data = [
        {"x": x, "y": y, "model": name}
        for name, curve in models.items()
        for x, y in zip(rates, curve[ROC], strict=True)
        if y is not None
    ]
    x = field("x", "quantitative", "false positive rate", scale=_UNIT, axis={"tickCount": 5})
    y = field("y", "quantitative", "true positive rate", scale=_UNIT, axis={"tickCount": 5})
    layers = [_diagonal(x, y), *lines(data, x, y, "model", list(models), points=False)]
    rows = [[x, *(curve[ROC][i] for curve in models.values())] for i, x in enumerate(rates)]
    return Figure(
        "ROC",
        "All test rows. The further a curve lies above the dashed diagonal, the better; the area "
        "under it is the AUC.",
        spec(data, layers, 300),
        ["false positive rate", *(f"true positive rate, {name}" for name in models)],
        rows,
    )


def wilson(positives: float, rows: float) -> tuple[float, float]:
    """The 95 % interval of a rate (Wilson, 1927); `rows` must be above 0."""
    rate, spread = positives / rows, _Z**2 / rows
    middle = (rate + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(rate * (1 - rate) / rows + spread / (4 * rows))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def calibration(models: Curves) -> Figure:
    """The rate of positives by the mean score of a bin."""
    data, rows = [], []
    for name, curve in models.items():
        for part in range(BINS):
            count, positives, score = (curve[key][part] for key in (ROWS, POSITIVES, SCORES))
            if count:
                low, high = wilson(positives, count)
                data.append(
                    {
                        "score": score / count,
                        "rate": positives / count,
                        "low": low,
                        "high": high,
                        "rows": count,
                        "model": name,
                    }
                )
                rows.append([name, *_span(part), int(count), score / count, positives / count])
    names = list(models)
    x = field("score", "quantitative", "mean score", scale=_UNIT, axis={"tickCount": 5})
    y = field("rate", "quantitative", "share of positives", scale=_UNIT, axis={"tickCount": 5})
    ends = {
        "x": x,
        "y": {**y, "field": "low"},
        "y2": {"field": "high"},
        "color": by_series("model", names, "color"),
    }
    layers = [_diagonal(x, y), layer("rule", ends), *lines(data, x, y, "model", names)]
    return Figure(
        "Calibration",
        "Test rows in bins of their score. On the dashed diagonal a score is a probability; below "
        "it the scores are too high. Lines are 95 % intervals.",
        spec(data, layers, 300),
        ["model", "score from", "to", "rows", "mean score", "share of positives"],
        rows,
    )


def histogram(name: str, curve: Mapping[str, Sequence[float]]) -> Figure:
    """The scores of positives and of negatives of one model."""
    kinds = ("positives", "negatives")
    data, rows = [], []
    for part in range(BINS):
        low, high = _span(part)
        counts = curve[POSITIVES][part], curve[ROWS][part] - curve[POSITIVES][part]
        rows.append([low, high, *(int(count) for count in counts)])
        middle = (low + high) / 2
        for kind, count, start, end in zip(
            kinds, counts, (low, middle), (middle, high), strict=True
        ):
            data.append({"from": start, "to": end, "rows": count, "label": kind})
    encoding = {
        "x": field(
            "from", "quantitative", "score", bin="binned", scale=_UNIT, axis={"tickCount": 5}
        ),
        "x2": {"field": "to"},
        "y": field("rows", "quantitative", "rows", axis={"tickCount": 5}),
        "color": by_series("label", kinds, "color"),
        "tooltip": [
            field("label", "nominal", "label"),
            field("rows", "quantitative", "rows", format=","),
        ],
    }
    return Figure(
        f"Scores of {name}",
        "Test rows by score. The less positives and negatives overlap, the better.",
        spec(data, [layer("bar", encoding)], 300),
        ["score from", "to", *kinds],
        rows,
    )


def _span(part: int) -> tuple[float, float]:
    return round(part / BINS, 2), round((part + 1) / BINS, 2)


def learning(runs: Mapping[str, Mapping[str, Any]]) -> list[Figure]:
    """AUC, log loss on eval and training loss over the steps of a training.

    Args:
      runs: the part `run` of `report.json`, by what the run is called; "" for the only one.
    """
    kinds = {
        "AUC": ({"eval_auc": "eval", "train_auc": "training"}, "Higher is better."),
        "Log loss on eval": (
            {"eval_loss": "as trained", "calibrated_loss": "calibrated"},
            "In nats; lower is better. The export has the calibrated scores.",
        ),
        "Training loss": (
            {"train_loss": "training"},
            "The sum of the recipe's losses; not comparable with the log loss.",
        ),
    }
    return [_learning(runs, title, *kind) for title, kind in kinds.items()]


def _learning(
    runs: Mapping[str, Mapping[str, Any]], title: str, fields: Mapping[str, str], says: str
) -> Figure:
    data, rows, names = [], [], []
    for run, content in runs.items():
        for key, called in fields.items():
            name = f"{run}, {called}" if run else called
            names.append(name)
            data += [
                {"step": evaluation["step"], "value": evaluation[key], "curve": name}
                for evaluation in content["evaluations"]
                if key in evaluation
            ]
        rows += [
            [run, evaluation["epoch"] + 1, evaluation["step"], *(evaluation.get(k) for k in fields)]
            for evaluation in content["evaluations"]
        ]
    if not any(runs):  # one run has no name to show
        rows = [row[1:] for row in rows]
    x = field("step", "quantitative", "step", axis={"tickCount": 5})
    y = field("value", "quantitative", title, scale={"zero": False}, axis={"tickCount": 5})
    layers = lines(data, x, y, "curve", names)
    layers += [rule("x", content["best"]["step"]) for content in runs.values()]
    columns = [*(["run"] if any(runs) else []), "epoch", "step", *fields.values()]
    says += " The dashed line is the step whose weights are kept."
    return Figure(title, says, spec(data, layers), columns, rows)
