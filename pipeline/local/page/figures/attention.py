"""Figures of attention: by position and by age of an event, for each pass."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.local.page.blocks import Figure
from pipeline.local.page.chart import field, lines, rule, spec

_AGES = {
    0: "under a day",
    1: "1-6 days",
    7: "7-29 days",
    30: "30-89 days",
    90: "90-364 days",
    365: "1-3 years",
    1095: "over 3 years",
}


def attention(measured: Mapping[str, Any]) -> list[Figure]:
    """Both figures; `measured` is `attention` of `diagnostics.json`."""
    by_position, by_age = measured["by_position"], measured["by_age"]
    lows = [group["from"] for group in by_position]
    ends = [*(low - 1 for low in lows[1:]), None]
    positions = [
        f"{low}" if end == low else f"{low}-{end}" if end else f"{low} and on"
        for low, end in zip(lows, ends, strict=True)
    ]
    if positions[-1] == "1 and on":  # histories of one event each
        positions[-1] = "1"
    return [
        _figure(
            "Attention by position",
            "position, 1 is the newest event",
            positions,
            by_position,
            measured,
        ),
        _figure(
            "Attention by age",
            "time between event and target",
            [_AGES[group["from"]] for group in by_age],
            by_age,
            measured,
        ),
    ]


def _figure(
    title: str,
    axis: str,
    names: Sequence[str],
    groups: Sequence[Mapping[str, Any]],
    measured: Mapping[str, Any],
) -> Figure:
    passes = [f"pass {number + 1}" for number in range(measured["passes"])]
    data = [
        {"group": name, "pass": of_pass, "weight": weight}
        for name, group in zip(names, groups, strict=True)
        for of_pass, weight in zip(passes, group["weight"], strict=True)
    ]
    angled = {"labelAngle": -40, "labelOverlap": False}
    x = field("group", "ordinal", axis, sort=list(names), axis=angled)
    y = field("weight", "quantitative", "weight of an event", axis={"tickCount": 5})
    layers = [rule("y", 1.0), *lines(data, x, y, "pass", passes)]
    columns = [axis, "events"]
    columns += [f"{of_pass}, {what}" for of_pass in passes for what in ("weight", "share")]
    rows = [
        [
            name,
            group["events"],
            *(
                cell
                for weight, share in zip(group["weight"], group["share"], strict=True)
                for cell in (round(weight, 3), f"{share:.1%}")
            ),
        ]
        for name, group in zip(names, groups, strict=True)
    ]
    says = (
        f"Positive test rows: {measured['rows']:,}. At 1, the dashed line, an event weighs as much "
        "as the average event of its history in that pass."
    )
    return Figure(title, says, spec(data, layers, 260), columns, rows)
