"""Report of `benchmarks.ingestion.stages`: Markdown and a plot."""

from typing import Any

from benchmarks.reporting import line, rule

# The timed parts of ingestion, in the order of the table.
PARTS = {
    "parse": "read lines, check them, hash users",
    "spill": "write and read rows between stages",
    "sort and group": "events in order, once each",
    "windows": "splits, targets, windows, counts of items",
    "negatives": "pools and draws",
    "encode": "bytes of the Examples",
    "frame and write": "TFRecord's checksums, files",
    "compress": "gzip",
}


def _rows(result: dict[str, Any]) -> list[tuple[str, str, float, float]]:
    """Name, content, seconds and CPU seconds of each row of the table."""
    rows = [
        (name, PARTS.get(name, "start-up, side inputs"), part["seconds"], part["cpu_seconds"])
        for name, part in result["parts"]["parts"].items()
    ]
    for name, content, run in (
        ("all of ingestion", "", result["parts"]),
        ("statistics", "of a sample", result["statistics"]),
        ("Polars", "read, sort, group", result["polars"]),
    ):
        rows.append((name, content, run["seconds"], run["cpu_seconds"]))
    return rows


def markdown(result: dict[str, Any]) -> str:
    """Times of the parts, compared with Polars; times with one and with two processes."""
    polars = result["polars"]
    lines = [
        f"# Ingestion of {result['rows']:,} rows ({result['source']}), part by part",
        "",
        f"{sum(result['statistics']['examples'].values()):,} Examples. One process; Polars uses "
        f"all cores. Best of {result['repeats']} by CPU time.",
        "",
        line(["part", "what", "s", "CPU s", "times Polars (s)", "times Polars (CPU)"]),
        rule(5),
    ]
    for name, content, seconds, cpu in _rows(result):
        lines.append(
            f"| {name} | {content} | {seconds:.2f} | {cpu:.2f} | "
            f"{seconds / polars['seconds']:.1f} | {cpu / polars['cpu_seconds']:.1f} |"
        )
    lines += ["", line(["processes", "s of work", "CPU s of each worker", "buckets"]), rule(3)]
    for count, runs in result["workers"].items():
        for run in runs:
            shares = ", ".join(f"{cpu:.1f}" for cpu in run["cpu_seconds_of_workers"])
            lines.append(line([count, f"{run['working_seconds']:.2f}", shares, run["buckets"]]))
    lines += [
        "",
        f"Without start-up, two processes are **{result['one_over_two']:.2f} times** as fast as "
        f"one; by CPU time of the busier worker {result['one_over_two_cpu']:.2f} times.",
    ]
    return "\n".join(lines) + "\n"


def picture(result: dict[str, Any], path: str) -> None:
    """Plots the CPU time of each part."""
    from matplotlib import pyplot

    rows = [row for row in _rows(result) if row[0] != "all of ingestion"]
    figure, axis = pyplot.subplots(figsize=(7, 3.5))
    bars = axis.barh([row[0] for row in rows], [row[3] for row in rows], color="#4c72b0")
    axis.bar_label(bars, [f"{row[3]:.1f}" for row in rows], padding=3)
    axis.set_xlabel(f"CPU time, s, {result['rows']:,} rows")
    axis.margins(x=0.12)
    axis.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
