"""Time of each part of ingestion, compared with Polars, and the gain of a second process.

One process runs the whole job and times each part without the parts it calls. A
second computes TFX's statistics of the Examples, and a third reads, sorts and groups
the file with Polars. The job then runs in one and in two processes, in turn, timed
from the start of the first stage to the end of the last, without start-up. Each time
is given as wall time and as CPU time; compare CPU time on a busy machine.

Example: python -m benchmarks.ingestion.stages --ratings ratings.csv.gz --rows 2000000 --output out
"""

import argparse
import collections
import json
import os
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.ingestion import jobs
from benchmarks.ingestion.timers import Timers
from benchmarks.reporting import line, rule

QUICK_ROWS = 200_000
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


def main() -> None:
    """Runs the benchmark for the command line."""
    jobs.report("ingest_stages", _arguments(), measure, _markdown, _picture)


def measure(arguments: argparse.Namespace, scratch: str) -> dict[str, Any]:
    """Seconds and CPU seconds of the parts, statistics, Polars, and one and two processes."""
    path = os.path.join(scratch, "ratings.csv")
    rows = jobs.replicate(arguments.ratings, arguments.rows, path)
    folder = os.path.join(scratch, "examples")
    runs: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    # In turn, so that a busy moment slows all of them.
    for _ in range(arguments.repeats):
        for name, job, source in (
            ("parts", _parts, path),
            ("statistics", _statistics, folder),
            ("polars", _polars, path),
        ):
            target = folder if name == "parts" else os.path.join(scratch, name)
            runs[name].append(jobs.in_a_process(job, source, target, arguments))
            print(f"{name}: {runs[name][-1]['seconds']:.1f} s", flush=True)
    workers: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for _ in range(arguments.repeats):
        for count in (1, 2):
            arguments.workers = count
            run = jobs.in_a_process(_workers, path, os.path.join(scratch, "workers"), arguments)
            workers[str(count)].append(run)
            print(f"{count} process(es): {run['working_seconds']:.1f} s of work", flush=True)
    seconds, cpu = one_over_two(workers)
    best = {name: min(times, key=lambda run: run["cpu_seconds"]) for name, times in runs.items()}
    return {
        "source": os.path.basename(arguments.ratings),
        "rows": rows,
        "repeats": arguments.repeats,
        **best,
        "workers": workers,
        "one_over_two": seconds,
        "one_over_two_cpu": cpu,
    }


def one_over_two(workers: dict[str, list[dict[str, Any]]]) -> tuple[float, float]:
    """Median of one process over the median of two: by time, by CPU time of the busiest worker."""

    def median(count: str, value: Callable[[dict[str, Any]], float]) -> float:
        return statistics.median(value(run) for run in workers[count])

    def seconds(run: dict[str, Any]) -> float:
        return run["working_seconds"]

    def busiest(run: dict[str, Any]) -> float:
        return max(run["cpu_seconds_of_workers"])

    return (
        median("1", seconds) / median("2", seconds),
        median("1", busiest) / median("2", busiest),
    )


def _parts(path: str, output: str, arguments: argparse.Namespace) -> dict[str, Any]:
    from pipeline.ingest import arrow_files, shards, stages, tfrecord_writer

    timers = Timers()
    for part, owner, *names in (
        ("parse", stages, "partition"),
        ("spill", arrow_files, "write", "write_partitions", "read", "read_partition"),
        ("sort and group", stages, "sort"),
        ("windows", stages, "count", "count_items"),
        ("windows", stages.Job, "targets"),
        ("negatives", stages, "pool"),
        ("negatives", shards, "_draw", "_pools"),
        ("encode", shards, "write"),
        ("frame and write", tfrecord_writer.Writer, "write"),
        ("compress", tfrecord_writer.Writer, "compress"),
    ):
        for name in names:
            timers.time(part, owner, name)
    start, cpu = time.perf_counter(), time.process_time()
    _ingest(path, output, arguments, 1)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    parts = {p: {"seconds": timers.seconds[p], "cpu_seconds": timers.cpu[p]} for p in PARTS}
    parts["Beam"] = {
        "seconds": seconds - sum(timers.seconds.values()),
        "cpu_seconds": cpu - sum(timers.cpu.values()),
    }
    return {"parts": parts, "cpu_seconds": cpu}


def _statistics(folder: str, output: str, arguments: argparse.Namespace) -> dict[str, Any]:
    from tfx.components.util import examples_utils
    from tfx.dsl.components.base import base_beam_executor
    from tfx.proto import example_gen_pb2
    from tfx.types import artifact_utils, standard_artifacts

    from pipeline.configs import Settings
    from pipeline.validation import SamplingExecutor
    from transforms import features

    report = json.loads(pathlib.Path(folder, "report.json").read_text())
    examples = standard_artifacts.Examples()
    examples.uri = folder
    examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(examples, "tfrecords_gzip")
    for split in features.SPLITS:
        examples.set_int_custom_property(f"rows_{split}", report["splits"][split]["samples"])
    written = standard_artifacts.ExampleStatistics()
    written.uri = output
    executor = SamplingExecutor(
        base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=jobs.beam_args(1), tmp_dir=output, unique_id="0"
        )
    )
    start, cpu = time.perf_counter(), time.process_time()
    executor.Do(
        {"examples": [examples]}, {"statistics": [written]}, {"rows": Settings.statistics_rows}
    )
    # Without imports: a pipeline run needs them only once.
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "examples": {split: report["splits"][split]["samples"] for split in features.SPLITS},
    }


def _polars(path: str, output: str, arguments: argparse.Namespace) -> dict[str, Any]:
    cpu = time.process_time()
    jobs.run_polars(path, output, arguments)
    return {"cpu_seconds": time.process_time() - cpu}


def _workers(path: str, output: str, arguments: argparse.Namespace) -> dict[str, Any]:
    report = _ingest(path, output, arguments, arguments.workers)
    return {
        "working_seconds": report["seconds"]["working"],
        "cpu_seconds_of_workers": report["cpu_seconds_of_workers"],
        "buckets": report["buckets"],
    }


def _ingest(path: str, output: str, arguments: argparse.Namespace, workers: int) -> dict[str, Any]:
    import apache_beam as beam

    from pipeline.ingest.job import ingest as run

    pipeline = beam.Pipeline(argv=jobs.beam_args(workers))
    return run(jobs.settings(path, arguments), output, pipeline)


def _table(result: dict[str, Any]) -> list[tuple[str, str, float, float]]:
    rows = [
        (name, PARTS.get(name, "start-up, side inputs"), t["seconds"], t["cpu_seconds"])
        for name, t in result["parts"]["parts"].items()
    ]
    ours = result["parts"]
    rows.append(("all of ingestion", "", ours["seconds"], ours["cpu_seconds"]))
    statistics_run = result["statistics"]
    rows.append(
        ("statistics", "of a sample", statistics_run["seconds"], statistics_run["cpu_seconds"])
    )
    polars = result["polars"]
    rows.append(("Polars", "read, sort, group", polars["seconds"], polars["cpu_seconds"]))
    return rows


def _markdown(result: dict[str, Any]) -> str:
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
    for name, what, seconds, cpu in _table(result):
        lines.append(
            f"| {name} | {what} | {seconds:.2f} | {cpu:.2f} | "
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


def _picture(result: dict[str, Any], path: str) -> None:
    from matplotlib import pyplot

    rows = [row for row in _table(result) if row[0] != "all of ingestion"]
    figure, axis = pyplot.subplots(figsize=(7, 3.5))
    bars = axis.barh([row[0] for row in rows], [row[3] for row in rows], color="#4c72b0")
    axis.bar_label(bars, [f"{row[3]:.1f}" for row in rows], padding=3)
    axis.set_xlabel(f"CPU time, s, {result['rows']:,} rows")
    axis.margins(x=0.12)
    axis.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _arguments() -> argparse.Namespace:
    parser = jobs.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows, once")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.repeats = QUICK_ROWS, 1
    return arguments


if __name__ == "__main__":
    main()
