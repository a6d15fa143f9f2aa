"""Charts as Vega-Lite specs: what all share, and helpers for their layers and encodings.

Colours are variables of page.css. So a chart follows light, dark and print without being drawn
again. Series differ by shape or dash too, not by colour alone.
"""

from collections.abc import Sequence
from typing import Any

Spec = dict[str, Any]
Row = dict[str, Any]

COLORS = [f"var(--series-{number})" for number in range(1, 7)]
SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross"]
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3]]
_WIDEST_LEGEND = 40  # characters in a row, on a phone
_INK, _QUIET, _LINE = "var(--ink)", "var(--quiet)", "var(--line)"
# What all charts share; page.js gives it to Vega-Embed.
THEME: Spec = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domainColor": _QUIET,
        "gridColor": _LINE,
        "labelColor": _INK,
        "labelFontSize": 12,
        "labelLimit": 170,
        "tickColor": _QUIET,
        "titleColor": _INK,
        "titleFontSize": 12,
        "titleFontWeight": 500,
    },
    "axisX": {"labelOverlap": True, "labelSeparation": 8},
    "legend": {
        "labelColor": _INK,
        "labelFontSize": 12,
        "labelLimit": 300,
        # At the right end, where the names of rows on the left do not push it out.
        "layout": {"top": {"anchor": "end"}},
        "orient": "top",
        "symbolSize": 90,
        "title": None,
    },
    "text": {"color": _INK, "fontSize": 12},
}


def spec(rows: Sequence[Row], layers: Sequence[Spec], height: int = 240) -> Spec:
    """A Vega-Lite spec that is as wide as its place in the page."""
    body: Spec = {"layer": list(layers)} if len(layers) > 1 else dict(layers[0])
    return {
        "data": {"values": list(rows)},
        "width": "container",
        "height": height,
        **body,
    }


def layer(mark: str, encoding: Spec, data: Sequence[Row] | None = None, **properties: Any) -> Spec:
    """A layer of a spec, with rows of its own if `data` is given."""
    own = {} if data is None else {"data": {"values": list(data)}}
    return {**own, "mark": {"type": mark, **properties}, "encoding": encoding}


def field(name: str, kind: str, title: str | None = None, **more: Any) -> Spec:
    """An encoding by a field; `kind` is quantitative, nominal, ordinal or temporal."""
    return {"field": name, "type": kind, "title": title, **more}


def by_series(name: str, names: Sequence[str], channel: str) -> Spec:
    """Colour, shape or dash by a field with these values, with one legend for all of them."""
    kinds: Spec = {"color": COLORS, "shape": SHAPES, "strokeDash": DASHES}
    chosen = kinds[channel]
    ranged = [chosen[number % len(chosen)] for number in range(len(names))]
    scale = {"domain": list(names), "range": ranged}
    encoding: Spec = {"field": name, "type": "nominal", "scale": scale}
    if len(names) < 2:
        encoding["legend"] = None
    elif sum(len(name) + 4 for name in names) > _WIDEST_LEGEND:
        encoding["legend"] = {"columns": 2}
    return encoding


def lines(
    rows: Sequence[Row], x: Spec, y: Spec, series: str, names: Sequence[str], points: bool = True
) -> list[Spec]:
    """Layers of lines, and of points, one colour, dash and shape a series."""
    shared = {"x": x, "y": y, "color": by_series(series, names, "color")}
    tooltip = [
        {"field": encoding["field"], "type": encoding["type"], "title": encoding["title"]}
        | ({"format": encoding["axis"]["format"]} if "format" in encoding.get("axis", {}) else {})
        for encoding in (x, y)
    ]
    tooltip.append({"field": series, "type": "nominal", "title": series})
    if not points:
        dash = by_series(series, names, "strokeDash")
        return [layer("line", {**shared, "strokeDash": dash}, strokeWidth=2)]
    # The dashes are no encoding here, so that the legend shows the points alone.
    result = [
        layer("line", shared, strokeWidth=2, strokeDash=DASHES[number % len(DASHES)])
        | {"transform": [{"filter": {"field": series, "equal": name}}]}
        for number, name in enumerate(names)
    ]
    return [
        *result,
        layer(
            "point",
            {**shared, "shape": by_series(series, names, "shape"), "tooltip": tooltip},
            filled=True,
            opacity=1,
            size=55,
        ),
    ]


def rule(axis: str, value: float, dash: Sequence[int] = (3, 3)) -> Spec:
    """A line across the chart at a value of `axis`, x or y."""
    at = {axis: {"datum": value, "type": "quantitative"}}
    return layer("rule", at, data=[{}], color=_QUIET, strokeDash=list(dash), strokeWidth=1.5)
