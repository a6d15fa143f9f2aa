"""Figures of the metrics over the whole catalogue: recall and the rank of the next item."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.eval_config import OVERALL
from pipeline.evaluation.retrieval.metrics import NAMES, RECALLS, TOP
from pipeline.local.page.blocks import Figure
from pipeline.local.page.chart import by_series, field, layer, spec

_Z = 1.96  # of a 95 % interval
_SHORT = {
    "recommend": "both stages",
    "first_stage": "first stage",
    "popularity": "popularity",
    "item_cosine": "item cosine",
}
_AT_TOP = (f"hit@{TOP}", f"ndcg@{TOP}", "mrr")


def catalogue(measured: Mapping[str, Any]) -> list[Figure]:
    """Both figures; `measured` is the content of `catalogue.json`."""
    asked = (
        f"{measured['rows']:,} positives of test ask for the best of {measured['items']:,} items. "
        "Lines are 95 % intervals over users."
    )
    recalls = [f"recall@{k}" for k in RECALLS]
    return [
        _figure(
            "Recall over the whole catalogue",
            f"Share of targets among the best K items. {asked}",
            measured["systems"],
            recalls,
        ),
        _figure(
            "Rank of the target in the whole catalogue",
            f"Hits among the best {TOP}, NDCG, and the mean of one over the rank. {asked}",
            measured["systems"],
            _AT_TOP,
        ),
    ]


def _figure(title: str, says: str, systems: Mapping[str, Any], metrics: Sequence[str]) -> Figure:
    data = []
    for name, of_slice in systems.items():
        for metric in metrics:
            value, error = of_slice[OVERALL][metric]
            if value is not None:
                spread = _Z * (error or 0.0)
                data.append(
                    {
                        "metric": metric,
                        "system": _SHORT[name],
                        "value": value,
                        "low": max(value - spread, 0.0),
                        "high": min(value + spread, 1.0),
                    }
                )
    names = [_SHORT[name] for name in systems]
    shared = {
        "y": field("metric", "nominal", sort=list(metrics)),
        "yOffset": {"field": "system", "type": "nominal", "sort": names},
        "color": by_series("system", names, "color"),
    }
    axis = {"tickCount": 5}
    tooltip = [field(name, "nominal", name) for name in ("system", "metric")]
    tooltip += [
        field(name, "quantitative", name, format=".4f") for name in ("value", "low", "high")
    ]
    low = field("low", "quantitative", "share", axis=axis)
    layers = [
        layer("rule", {**shared, "x": low, "x2": {"field": "high"}}, strokeWidth=2),
        layer(
            "point",
            {
                **shared,
                "x": field("value", "quantitative", "share", axis=axis),
                "shape": by_series("system", names, "shape"),
                "tooltip": tooltip,
            },
            filled=True,
            size=70,
            opacity=1,
        ),
    ]
    rows = [
        [NAMES[name], *(cell for metric in metrics for cell in of_slice[OVERALL][metric])]
        for name, of_slice in systems.items()
    ]
    columns = ["system", *(cell for metric in metrics for cell in (metric, "standard error"))]
    height = 40 + len(metrics) * (14 * len(names) + 12)
    return Figure(title, says, spec(data, layers, height), columns, rows)
