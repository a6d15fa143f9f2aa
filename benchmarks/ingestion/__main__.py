"""How fast ingestion is, and how much memory it takes.

Three jobs on the same ratings: ours, the same work written an element at a time
(`plain_ingest`), and Polars reading, sorting and grouping alone, which is less
work and shows what is left. Each runs in a process of its own, as often as
asked; the best time counts. Examples of ours and of the plain job are compared
by a digest. Of more rows than the file has, the rest are the same users with
new ids.

Example: python -m benchmarks.ingestion --ratings ratings.csv.gz --rows 1000000 --output out
"""

import argparse
import os
import time
from typing import Any

import matplotlib

from benchmarks.ingestion import jobs

matplotlib.use("Agg")
JOBS = ("ours", "plain", "polars")


def main() -> None:
    """Runs the benchmark for the command line."""
    jobs.report("ingest", _arguments(), measure, _markdown, _picture)


def measure(arguments: argparse.Namespace, scratch: str) -> dict[str, Any]:
    """Times, memory, sizes and digests of the jobs."""
    rows = {"ours": arguments.rows, "polars": arguments.rows}
    rows["plain"] = arguments.plain_rows if arguments.plain_rows is not None else arguments.rows
    paths: dict[int | None, tuple[str, int]] = {}
    for count in set(rows.values()):
        path = os.path.join(scratch, f"ratings-{count}.csv")
        paths[count] = (path, jobs.replicate(arguments.ratings, count, path))
    result: dict[str, Any] = {
        "source": os.path.basename(arguments.ratings),
        "max_history_length": arguments.max_history_length,
        "shift": arguments.shift,
        "workers": arguments.workers,
        "repeats": arguments.repeats,
        "jobs": {},
    }
    asked = [name for name in JOBS if rows[name] != 0]
    for _ in range(arguments.repeats):  # in turn, so that a busy moment meets all of them
        for name in asked:
            path, count = paths[rows[name]]
            run = jobs.in_a_process(_JOBS[name], path, os.path.join(scratch, name), arguments)
            job = result["jobs"].setdefault(name, {"rows": count, "runs": []})
            job["runs"].append(run)
            print(f"{name}: {run['seconds']:.1f} s", flush=True)
    for job in result["jobs"].values():
        best = min(job["runs"], key=lambda run: run["seconds"])
        job |= {"seconds": best["seconds"], "rows_per_second": job["rows"] / best["seconds"]}
        job["peak_memory_mb"] = max(run["peak_memory_mb"] for run in job["runs"])
        job["output_bytes"] = best["output_bytes"]
    ours, plain = result["jobs"]["ours"], result["jobs"].get("plain")
    if plain:
        result["times_plain"] = ours["rows_per_second"] / plain["rows_per_second"]
        result |= _compare(arguments, paths[rows["plain"]][0], scratch)
    return result


def _ours(path: str, output: str, arguments: argparse.Namespace) -> None:
    import apache_beam as beam

    from pipeline.ingest.job import ingest

    ingest(
        jobs.settings(path, arguments),
        output,
        beam.Pipeline(argv=jobs.beam_args(arguments.workers)),
    )


def _plain(path: str, output: str, arguments: argparse.Namespace) -> None:
    import apache_beam as beam

    from benchmarks.ingestion import naive_beam

    pipeline = beam.Pipeline(argv=jobs.beam_args(arguments.workers))
    naive_beam.run(jobs.settings(path, arguments), output, pipeline, time.time())


_JOBS = {"ours": _ours, "plain": _plain, "polars": jobs.run_polars}


def _compare(arguments: argparse.Namespace, path: str, scratch: str) -> dict[str, Any]:
    """Digests of both jobs' examples on the rows that the plain one was given."""
    from benchmarks.ingestion import example_digest

    if arguments.plain_rows is not None and arguments.plain_rows != arguments.rows:
        jobs.in_a_process(_ours, path, os.path.join(scratch, "ours"), arguments)
    ours, plain = (example_digest.digest(os.path.join(scratch, name)) for name in ("ours", "plain"))
    return {"digest": ours, "same_examples": ours == plain}


def _markdown(result: dict[str, Any]) -> str:
    lines = [
        f"# Ingestion of {result['source']}",
        "",
        f"L = {result['max_history_length']}, d = {result['shift']}, workers: {result['workers']}, "
        f"best of {result['repeats']}. Memory is the largest sum over a job's processes.",
        "",
        "| job | rows | s | rows/s | s a million | peak memory, MB | output, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, job in result["jobs"].items():
        lines.append(
            f"| {name} | {job['rows']:,} | {job['seconds']:.2f} | {job['rows_per_second']:,.0f} | "
            f"{1e6 / job['rows_per_second']:.2f} | {job['peak_memory_mb']:,} | "
            f"{job['output_bytes'] / 1e6:,.1f} |"
        )
    if "times_plain" in result:
        same = "the same set of examples" if result["same_examples"] else "DIFFERENT examples"
        lines += ["", f"Ours is {result['times_plain']:.1f} times as fast a row; both give {same}."]
        ours, plain = result["jobs"]["ours"], result["jobs"]["plain"]
        if ours["rows"] != plain["rows"]:
            lines += [f"The plain job was given {plain['rows']:,} rows, which were compared."]
    return "\n".join(lines) + "\n"


def _picture(result: dict[str, Any], path: str) -> None:
    from matplotlib import pyplot

    names = list(result["jobs"])
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3))
    for axis, key, label in (
        (axes[0], "rows_per_second", "rows/s, logarithmic"),
        (axes[1], "peak_memory_mb", "peak memory, MB"),
    ):
        values = [result["jobs"][name][key] for name in names]
        if axis is axes[0]:
            # Points, not bars: on a logarithmic axis a bar's length says nothing.
            axis.plot(values, names, "o", color="#4c72b0")
            axis.set_xscale("log")
            axis.grid(axis="x", alpha=0.3)
        else:
            axis.barh(names, values, color="#4c72b0")
        for name, value in zip(names, values, strict=True):
            axis.annotate(f"{value:,.0f}", (value, name), (5, 5), textcoords="offset points")
        axis.margins(x=0.4, y=0.25)
        axis.set_xlabel(label)
        axis.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _arguments() -> argparse.Namespace:
    parser = jobs.parser(__doc__)
    parser.add_argument("--plain-rows", type=int, help="ratings for the plain job; 0 leaves it out")
    parser.add_argument("--workers", type=int, default=1, help="more than one are processes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
