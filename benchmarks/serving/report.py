"""Markdown and picture of the serving benchmark."""

from typing import Any

from benchmarks.reporting import line, rule
from model.presets import label

_METHODS = {
    "rank": "`rank`",
    "tiled": "`serving_default`, history tiled",
    "session": "`rank`, session alone",
}


def markdown(result: dict[str, Any]) -> str:
    """Tables of targets, latencies and ratios, then the soak."""
    lines = [
        f"Measured on {result['date']}: {result['cores']} cores ({result['machine']}), shared by "
        f"server and client; untrained weights, {result['items']:,} items, D = 32. "
        "`python -m benchmarks.serving`",
        "",
        line(["target", "wanted", "measured", ""]),
        rule(3),
    ]
    for each in result["targets"]:
        verdict = "met" if each["met"] else "**missed**"
        row = (each["target"], each["wanted"], _number(each["measured"]), verdict)
        lines.append(line(row))
    lines += [
        "",
        "Latency in milliseconds over gRPC: one client in a closed loop, several clients (their "
        "requests/s are the capacity), and an open loop at half the capacity, counted from the "
        "arrival of a request.",
        "",
        line(["", "system", "L", "K", "load", "p50", "p95", "p99", "requests/s"]),
        rule(8),
    ]
    for row in sorted(
        result["rows"], key=lambda row: (row["history_length"], _order(row), row["candidates"])
    ):
        load = f"{row['clients']} clients" if row["clients"] else "open"
        cells = [
            _METHODS[row["method"]],
            label(row["model"]),
            row["history_length"],
            row["candidates"],
            "1 client" if row["clients"] == 1 else load,
            *(_number(row[name]) for name in ("p50_ms", "p95_ms", "p99_ms", "requests_per_s")),
        ]
        lines.append(line(cells))
    lines += [
        "",
        "Median of one client over the median of IMN 3P+'s `rank` through the server:",
        "",
        line(["L", "K", "history tiled", "DIN", "session alone"]),
        rule(4),
    ]
    for row in result["ratios"]:
        ratios = (_number(row[name]) for name in ("tiled", "din", "session"))
        cells = [row["history_length"], row["candidates"], *ratios]
        lines.append(line(cells))
    if result["soak"]:
        lines += ["", _soak(result["soak"])]
    return "\n".join(lines) + "\n"


def _order(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["method"], row["model"], row["clients"] or 100


def _soak(soak: dict[str, Any]) -> str:
    errors = ", ".join(f"{count} {kind}" for kind, count in soak["errors"].items()) or "none"
    by_version = ", ".join(
        f"{count:,} by version {version}" for version, count in soak["answered_by_version"].items()
    )
    levels = ", ".join(f"{level:,.0f}" for level in soak["memory_levels_mb"])
    growths = ", ".join(f"{growth:+.2f}" for growth in soak["memory_growths_mb_per_minute"])
    return (
        f"Soak: {soak['seconds'] / 60:.1f} minutes at {soak['rate_per_s']:.0f} requests/s, "
        f"80 % of the capacity of {soak['capacity_per_s']:.0f}, with two version swaps. "
        f"{soak['sent']:,} sent, {soak['answered']:,} answered with correct scores "
        f"({by_version}), errors: {errors}, lost: {soak['lost']}. p50 {soak['p50_ms']:.1f}, "
        f"p95 {soak['p95_ms']:.1f}, p99 {soak['p99_ms']:.1f} ms, including the swaps. The server's "
        f"memory before, between and after the swaps was {levels} MB, and grew by {growths} MB per "
        f"minute; its peak was {soak['memory_peak_mb']:,.0f} MB. A swap holds two versions, and "
        f"allocators keep that memory. The client sent a request at most "
        f"{soak['client_late_ms']:.0f} ms late."
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def picture(result: dict[str, Any], path: str) -> None:
    """Plots latency by candidates for each L, and the server's memory in the soak."""
    from matplotlib import pyplot

    lengths = sorted({row["history_length"] for row in result["rows"]})
    count = len(lengths) + bool(result["soak"])
    figure, axes = pyplot.subplots(1, count, figsize=(4 * count, 3.2), squeeze=False)
    for axis, length in zip(axes[0], lengths, strict=False):
        curves: dict[str, list[tuple[int, float]]] = {}
        for row in result["rows"]:
            if row["clients"] == 1 and row["history_length"] == length:
                name = f"{label(row['model'])}, {row['method']}"
                curves.setdefault(name, []).append((row["candidates"], row["p50_ms"]))
        for name, points in curves.items():
            axis.plot(*zip(*sorted(points), strict=True), "o-", label=name, markersize=4)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.grid(alpha=0.3)
        axis.set_xlabel("candidates")
        axis.set_title(f"median latency, ms; L = {length}", fontsize=9)
    axes[0][0].legend(fontsize=7)
    if soak := result["soak"]:
        axis = axes[0][-1]
        axis.plot(*zip(*soak["memory"], strict=True))
        for at in soak["swaps_at_s"]:
            axis.axvline(at, color="grey", linestyle=":")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("s; dotted: a version swap")
        axis.set_title("server's memory, MB", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
