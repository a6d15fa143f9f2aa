"""Speed and memory of ingestion.

Three jobs run on the same ratings: this project's; the naive Beam job
(`naive_beam.py`), which does the same work one element at a time; and Polars,
which only reads, sorts and groups, as a lower bound. Each run has its own process,
and the fastest run counts. A digest compares the Examples of the first two jobs.
If `--rows` exceeds the file, the ratings are repeated with new ids.

Example: python -m benchmarks.ingestion --ratings ratings.csv.gz --rows 1000000 --output out
"""

import argparse
import os
from typing import Any

from benchmarks.ingestion import jobs
from benchmarks.reporting import line, rule

# The functions live in another module: a spawned process cannot import them from `__main__`.
JOBS = {"ours": jobs.run_ours, "plain": jobs.run_naive, "polars": jobs.run_polars}


def main() -> None:
    """Runs the benchmark for the command line."""
    jobs.report("ingest", _arguments(), measure, _markdown, _picture)


def measure(arguments: argparse.Namespace, scratch: str) -> dict[str, Any]:
    """Measures each job: rows/s, peak memory (MB), output size (bytes) and digest."""
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
    names = [name for name in JOBS if rows[name] != 0]
    # In turn, so that a busy moment slows all jobs.
    for _ in range(arguments.repeats):
        for name in names:
            path, count = paths[rows[name]]
            run = jobs.in_a_process(JOBS[name], path, os.path.join(scratch, name), arguments)
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


def _compare(arguments: argparse.Namespace, path: str, scratch: str) -> dict[str, Any]:
    """Compares the Examples of both jobs, on the rows of the naive job."""
    from benchmarks.ingestion import example_digest

    if arguments.plain_rows is not None and arguments.plain_rows != arguments.rows:
        jobs.in_a_process(jobs.run_ours, path, os.path.join(scratch, "ours"), arguments)
    ours, plain = (example_digest.digest(os.path.join(scratch, name)) for name in ("ours", "plain"))
    return {"digest": ours, "same_examples": ours == plain}


def _markdown(result: dict[str, Any]) -> str:
    lines = [
        f"# Ingestion of {result['source']}",
        "",
        f"L = {result['max_history_length']}, d = {result['shift']}, workers: {result['workers']}, "
        f"best of {result['repeats']}. Memory is the peak of the sum over all processes of a job.",
        "",
        line(["job", "rows", "s", "rows/s", "s per million", "peak memory, MB", "output, MB"]),
        rule(6),
    ]
    for name, job in result["jobs"].items():
        lines.append(
            line(
                [
                    name,
                    f"{job['rows']:,}",
                    f"{job['seconds']:.2f}",
                    f"{job['rows_per_second']:,.0f}",
                    f"{1e6 / job['rows_per_second']:.2f}",
                    f"{job['peak_memory_mb']:,}",
                    f"{job['output_bytes'] / 1e6:,.1f}",
                ]
            )
        )
    if "times_plain" in result:
        same = "the same set of examples" if result["same_examples"] else "DIFFERENT examples"
        lines += [
            "",
            f"Ours is {result['times_plain']:.1f} times as fast per row; both write {same}.",
        ]
        ours, plain = result["jobs"]["ours"], result["jobs"]["plain"]
        if ours["rows"] != plain["rows"]:
            lines += [f"The naive job read {plain['rows']:,} rows; the comparison covers these."]
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
            # Points: the length of a bar means nothing on a logarithmic axis.
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
    parser.add_argument("--plain-rows", type=int, help="ratings for the naive job; 0 skips it")
    parser.add_argument(
        "--workers", type=int, default=1, help="Beam workers; more than one run as processes"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
