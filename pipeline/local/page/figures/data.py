"""Figures of the data: histories, ratings a day, items, attributes; and tables of what was read."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.local.page.blocks import Figure, Table
from pipeline.local.page.chart import by_series, field, layer, spec
from transforms import features

_MOST_POINTS = 200  # of ratings over time


def bins(counts: Sequence[Mapping[str, int]]) -> list[tuple[str, str]]:
    """Key and name of each bin of powers of two that occurs: `4` is `4-7`, in order."""
    lows = sorted({int(low) for of in counts for low in of})
    return [(str(low), f"{low}" if low < 2 else f"{low}-{2 * low - 1}") for low in lows]


def history_lengths(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """How many events a target has before it, for each split."""
    found = bins(list(counts.values()))
    totals = {split: sum(of.values()) for split, of in counts.items()}
    data = [
        {"events": name, "split": split, "share": of.get(key, 0) / max(totals[split], 1)}
        for key, name in found
        for split, of in counts.items()
    ]
    rows = [
        [name, *(counts[split].get(key, 0) for split in features.SPLITS)] for key, name in found
    ]
    return Figure(
        "Lengths of histories",
        "Events of the user before a target, without the cut to the newest L. The bars of a split "
        "add up to 100 %.",
        _bars(data, "events", [name for _, name in found], "split", list(features.SPLITS)),
        ["events", *(f"targets of {split}" for split in features.SPLITS)],
        rows,
    )


def item_frequency(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """How often items occur in training."""
    found = bins(list(counts.values()))
    names = {"items": "share of items", "events": "share of their events"}
    totals = {kind: sum(counts[kind].values()) for kind in names}
    data = [
        {
            "events": name,
            "of": names[kind],
            "share": counts[kind].get(key, 0) / max(totals[kind], 1),
        }
        for key, name in found
        for kind in names
    ]
    rows = [[name, *(counts[kind].get(key, 0) for kind in names)] for key, name in found]
    return Figure(
        "How often items occur in training",
        "Items by their number of training events, and the share of all events that they have.",
        _bars(data, "events", [name for _, name in found], "of", list(names.values())),
        ["events of an item", "items", "events"],
        rows,
    )


def _bars(
    data: list[dict[str, Any]], x: str, order: list[str], series: str, names: list[str]
) -> dict[str, Any]:
    encoding = {
        "x": field(x, "ordinal", x, sort=order, axis={"labelAngle": -40, "labelOverlap": True}),
        "xOffset": {"field": series, "type": "nominal", "sort": names},
        "y": field("share", "quantitative", "share", axis={"format": "%", "tickCount": 5}),
        "color": by_series(series, names, "color"),
        "tooltip": [
            field(x, "ordinal", x),
            field(series, "nominal", series),
            field("share", "quantitative", "share", format=".1%"),
        ],
    }
    return spec(data, [layer("bar", encoding)])


def events_by_day(counts: Mapping[str, int], begins: Mapping[str, str | None]) -> Figure:
    """Ratings a day over time, as means of equal spans where there are many days.

    Args:
      counts: events by day.
      begins: the first day of a split by its name; None if the split is not one of time.
    """
    days = {datetime.date.fromisoformat(day): count for day, count in counts.items()}
    first, last = min(days), max(days)
    width = -(-((last - first).days + 1) // _MOST_POINTS)
    total: dict[int, int] = {}
    for day, count in days.items():
        span = (day - first).days // width
        total[span] = total.get(span, 0) + count
    data, rows = [], []
    for span in range((last - first).days // width + 1):
        start = first + datetime.timedelta(days=span * width)
        length = min(width, (last - start).days + 1)
        mean = total.get(span, 0) / length
        data.append({"day": start.isoformat(), "ratings": mean})
        rows.append([start.isoformat(), length, total.get(span, 0), round(mean, 2)])
    x = field("day", "temporal", axis={"labelOverlap": True, "tickCount": 6, "format": "%Y-%m"})
    y = field("ratings", "quantitative", "ratings a day", axis={"tickCount": 5})
    tooltip = [
        field("day", "temporal", "from", format="%Y-%m-%d"),
        field("ratings", "quantitative", "ratings a day", format=".1f"),
    ]
    edges = [{"day": day, "name": name} for name, day in begins.items() if day]
    layers = [
        layer(
            "area",
            {"x": x, "y": y, "tooltip": tooltip},
            color="var(--series-1)",
            interpolate="step-after",
            opacity=0.75,
        )
    ]
    if edges:
        at = {"x": field("day", "temporal")}
        name = {**at, "y": {"value": -4}, "text": {"field": "name", "type": "nominal"}}
        layers.append(layer("rule", at, edges, color="var(--ink)", strokeDash=[4, 3]))
        # Eval ends at its line and test begins at its own, so that the names never meet.
        layers += [
            layer("text", name, [edge], align=side, baseline="bottom")
            for edge, side in zip(edges, ("right", "left"), strict=False)
        ]
    says = f"Means of {width} days." if width > 1 else "Each day."
    if edges:
        says += " Dashed lines are the days on which eval and test begin."
    columns = ["from", "days", "ratings", "ratings a day"]
    return Figure("Ratings a day", says, spec(data, layers), columns, rows)


def coverage(items: Mapping[str, Any]) -> Figure:
    """The share of items with a value of each attribute; `items` is ItemTable's report."""
    total = max(items["items"], 1)
    found = [(f"has {name}", count, total) for name, count in items["filled"].items()]
    for name, of in (("items", "training_items"), ("events", "training_events")):
        if items[of]:
            found.append((f"training {name} in it", items[f"known_{name}"], items[of]))
    data = [{"what": what, "share": count / of} for what, count, of in found]
    encoding = {
        "y": field("what", "nominal", sort=[what for what, *_ in found]),
        "x": field(
            "share",
            "quantitative",
            "share",
            scale={"domain": [0, 1]},
            axis={"format": "%", "tickCount": 5},
        ),
        "tooltip": [
            field("what", "nominal", "what"),
            field("share", "quantitative", "share", format=".1%"),
        ],
    }
    bars = layer("bar", encoding, color="var(--series-1)", height={"band": 0.7})
    return Figure(
        "Coverage of the catalogue",
        "Items of the catalogue with a value of each attribute, and what of training is in the "
        "catalogue.",
        spec(data, [bars], 40 + 28 * len(found)),
        ["what", "count", "of", "share"],
        [[what, count, of, f"{count / of:.1%}"] for what, count, of in found],
    )


def splits(ingestion: Mapping[str, Any]) -> Table:
    """Rows and users of each split."""
    rows = [
        [name, of["samples"], of["positives"], of["users"]]
        for name, of in ingestion["splits"].items()
    ]
    return Table("Samples", ["split", "rows", "positives", "users"], rows)


def counts(ingestion: Mapping[str, Any]) -> Table:
    """What ingestion counted."""
    bad = sum(entry["lines"] for entry in ingestion["bad_lines"].values())
    rows = [
        ["lines read", ingestion["lines"]],
        ["bad lines", bad],
        ["repeated ratings", ingestion["duplicates"]],
        ["below min_rating", ingestion["below_min_rating"]],
        ["events", ingestion["events"]],
        ["users", ingestion["users"]],
        ["items in training", ingestion["training_items"]],
        ["first day", ingestion["first_day"]],
        ["last day", ingestion["last_day"]],
        ["split", ingestion["split"]],
        ["eval begins", ingestion["eval_begins"]],
        ["test begins", ingestion["test_begins"]],
        ["negatives", ingestion["negatives"]["kind"]],
        ["targets without a negative", ingestion["negatives"]["targets_without"]],
    ]
    shown = [[name, f"{value:,}" if isinstance(value, int) else value] for name, value in rows]
    return Table("What was read", ["", ""], shown)


def bad_lines(
    ingestion: Mapping[str, Any], samples: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Table:
    """Bad lines by reason, with some of each."""
    rows = [
        [
            reason,
            entry["lines"],
            f"{entry['share']:.3%}",
            "\n".join(f"{line['place']}: {line['text']}" for line in samples.get(reason, ())),
        ]
        for reason, entry in ingestion["bad_lines"].items()
    ]
    return Table("Bad lines", ["reason", "lines", "share", "for example"], rows)
