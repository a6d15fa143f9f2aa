"""Time of each part of ingestion, compared with Polars, and the gain of a second process.

First, three jobs run, each in its own process: the whole of ingestion, which times each part
without the parts it calls; TFX's statistics of the Examples; and Polars, which reads, sorts and
groups the file. Then ingestion runs with one and with two worker processes, in turn. Their time
goes from the start of the first stage to the end of the last, without start-up.

All times are given as wall time and as CPU time. On a busy machine, compare CPU time.

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

from benchmarks.ingestion import jobs, stages_report
from benchmarks.ingestion.timers import Timers

QUICK_ROWS = 200_000


def main() -> None:
    """Runs the benchmark for the command line."""
    jobs.report(
        "ingest_stages", _arguments(), measure, stages_report.markdown, stages_report.picture
    )


def measure(arguments: argparse.Namespace, scratch: str) -> dict[str, Any]:
    """Seconds and CPU seconds of the parts, statistics, Polars, and one and two processes."""
    path = os.path.join(scratch, "ratings.csv")
    rows = jobs.replicate(arguments.ratings, arguments.rows, path)
    folder = os.path.join(scratch, "examples")
    runs: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    # In turn, so that a busy moment slows all of them.
    for _ in range(arguments.repeats):
        for name, job, source, output in (
            ("parts", _parts, path, folder),
            ("statistics", _statistics, folder, os.path.join(scratch, "statistics")),
            ("polars", _polars, path, os.path.join(scratch, "polars")),
        ):
            runs[name].append(jobs.in_a_process(job, source, output, arguments))
            print(f"{name}: {runs[name][-1]['seconds']:.1f} s", flush=True)
    workers: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for _ in range(arguments.repeats):
        for count in (1, 2):
            arguments.workers = count
            run = jobs.in_a_process(_workers, path, os.path.join(scratch, "workers"), arguments)
            workers[str(count)].append(run)
            print(f"{count} process(es): {run['working_seconds']:.1f} s of work", flush=True)
    seconds_ratio, cpu_ratio = one_over_two(workers)
    best = {name: min(times, key=lambda run: run["cpu_seconds"]) for name, times in runs.items()}
    return {
        "source": os.path.basename(arguments.ratings),
        "rows": rows,
        "repeats": arguments.repeats,
        **best,
        "workers": workers,
        "one_over_two": seconds_ratio,
        "one_over_two_cpu": cpu_ratio,
    }


def one_over_two(workers: dict[str, list[dict[str, Any]]]) -> tuple[float, float]:
    """Median of one process over the median of two.

    Returns:
      The ratio of wall times, and the ratio of CPU times of the busiest worker.
    """

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
    parts = {
        part: {"seconds": timers.seconds[part], "cpu_seconds": timers.cpu[part]}
        for part in stages_report.PARTS
    }
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
    output_artifact = standard_artifacts.ExampleStatistics()
    output_artifact.uri = output
    executor = SamplingExecutor(
        base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=jobs.beam_args(1), tmp_dir=output, unique_id="0"
        )
    )
    start, cpu = time.perf_counter(), time.process_time()
    executor.Do(
        {"examples": [examples]},
        {"statistics": [output_artifact]},
        {"rows": Settings.statistics_rows},
    )
    # Imports are not timed, because a pipeline run imports only once.
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

    from pipeline.ingest.job import ingest

    pipeline = beam.Pipeline(argv=jobs.beam_args(workers))
    return ingest(jobs.settings(path, arguments), output, pipeline)


def _arguments() -> argparse.Namespace:
    parser = jobs.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows, once")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.repeats = QUICK_ROWS, 1
    return arguments


if __name__ == "__main__":
    main()
