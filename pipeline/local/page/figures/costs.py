"""Figures of time and memory by component."""

from collections.abc import Mapping
from typing import Any

from pipeline.local.page.blocks import Figure
from pipeline.local.page.chart import by_series, field, layer, spec

Costs = Mapping[str, Mapping[str, Any]]
_RAN, _REUSED = "ran", "reused"


def costs(measured: Costs) -> list[Figure]:
    """Time and memory of one run; `measured` is what `costs.read` returns."""
    kinds = {name: _REUSED if cost["reused"] else _RAN for name, cost in measured.items()}
    return [
        _figure(
            title,
            says,
            unit,
            [
                {"component": name, "series": kinds[name], "value": cost[key]}
                for name, cost in measured.items()
                if cost[key] is not None
            ],
            list(measured),
            [kind for kind in (_RAN, _REUSED) if kind in kinds.values()],
            ["component", unit, ""],
            [[name, _rounded(cost[key]), kinds[name]] for name, cost in measured.items()],
            False,
        )
        for key, title, says, unit in _KINDS
    ]


def compared(runs: Mapping[str, Costs]) -> list[Figure]:
    """Time and memory of several runs, by what a run is called."""
    order = list(dict.fromkeys(name for measured in runs.values() for name in measured))
    return [
        _figure(
            title,
            says,
            unit,
            [
                {"component": name, "series": run, "value": cost[key]}
                for run, measured in runs.items()
                for name, cost in measured.items()
                if cost[key] is not None
            ],
            order,
            list(runs),
            ["component", *runs],
            [
                [name, *(_rounded(costs.get(name, {}).get(key)) for costs in runs.values())]
                for name in order
            ],
            True,
        )
        for key, title, says, unit in _KINDS
    ]


_KINDS = (
    (
        "seconds",
        "Time by component",
        "Seconds of waiting, on this machine. Those of a reused component are of the run that "
        "made it.",
        "seconds",
    ),
    (
        "peak_memory_mb",
        "Memory by component",
        "The most that the run and the processes it started held while the component ran, read "
        "twice a second. All components share one process, which seldom gives memory back: look "
        "for the first one that reaches a height.",
        "MiB",
    ),
)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _figure(
    title: str,
    says: str,
    unit: str,
    data: list[dict[str, Any]],
    order: list[str],
    names: list[str],
    columns: list[str],
    rows: list[list[Any]],
    beside: bool,
) -> Figure:
    encoding = {
        "y": field("component", "nominal", sort=order),
        "x": field("value", "quantitative", unit, axis={"tickCount": 5}),
        "color": by_series("series", names, "color"),
        "tooltip": [
            field("component", "nominal", "component"),
            field("series", "nominal", "run"),
            field("value", "quantitative", unit, format=",.1f"),
        ],
    }
    if beside:
        encoding["yOffset"] = {"field": "series", "type": "nominal", "sort": names}
    height = 40 + len(order) * (12 * len(names) + 8 if beside else 22)
    return Figure(title, says, spec(data, [layer("bar", encoding)], height), columns, rows)
