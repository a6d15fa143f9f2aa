"""The jobs that the ingestion benchmarks compare, and how each is run and reported."""

import argparse
import multiprocessing
import os
import pathlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import psutil
import pyarrow as pa

from benchmarks import reporting
from benchmarks.reporting import Result
from pipeline.configs import Settings


def parser(doc: str) -> argparse.ArgumentParser:
    """Options of both ingestion benchmarks. The first line of `doc` is the description."""
    options = argparse.ArgumentParser(description=doc.splitlines()[0])
    options.add_argument("--ratings", required=True, help="file or glob of ratings, any layout")
    options.add_argument("--rows", type=int, help="ratings to ingest; default: all of the file")
    options.add_argument("--output", default="bench_out", help="folder of the results")
    options.add_argument("--scratch", help="folder for temporary files of the jobs")
    options.add_argument("--max-history-length", type=int, default=100, help="L")
    options.add_argument("--shift", type=int, default=10, help="d")
    options.add_argument("--split", default="temporal", help="temporal, leave_last or user")
    options.add_argument("--repeats", type=int, default=3, help="runs of each job")
    return options


def report(
    name: str,
    arguments: argparse.Namespace,
    measure: Callable[[argparse.Namespace, str], Result],
    markdown: Callable[[Result], str],
    picture: Callable[[Result, str], None],
) -> None:
    """Measures in a temporary folder, then writes NAME.json, NAME.md and NAME.png."""
    if arguments.scratch:
        os.makedirs(arguments.scratch, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        result = measure(arguments, scratch)
    reporting.write(name, arguments.output, result, markdown, picture)


def replicate(ratings: str, rows: int | None, path: str) -> int:
    """Writes ratings in the layout of Amazon 2014, repeated with new ids up to `rows`.

    Args:
      ratings: file or glob to read.
      rows: number of ratings to write; None writes all ratings once.
      path: file to write.

    Returns:
      Number of ratings written.
    """
    from pipeline.configs import Settings
    from pipeline.ingest.sources import reading

    parsed = reading.read_all(Settings(ratings=ratings), min_rating=0.0)
    tables = [block.events for block in parsed]
    table = pa.Table.from_batches(tables)
    user, item = (
        table[name].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
        for name in ("user", "item")
    )
    times = table["time"].to_numpy() // 1_000_000
    total = len(table) if rows is None else rows
    left = total
    copy = 0
    with open(path, "wb") as file:
        while left > 0:
            n = min(left, len(table))
            frame = polars.DataFrame(
                {
                    "user": user[:n] + copy * (user.max() + 1),
                    "item": item[:n] + copy * (item.max() + 1),
                    "time": times[:n],
                }
            ).select(
                (polars.lit("A") + polars.col("user").cast(polars.String).str.zfill(13)).alias(
                    "user"
                ),
                (polars.lit("B") + polars.col("item").cast(polars.String).str.zfill(9)).alias(
                    "item"
                ),
                polars.lit("5.0").alias("rating"),
                "time",
            )
            frame.write_csv(file, include_header=False)
            left -= n
            copy += 1
    return total


def run_ours(path: str, output: str, arguments: argparse.Namespace) -> None:
    """The project's ingestion writes Examples under `output`."""
    import apache_beam as beam

    from pipeline.ingest.job import ingest

    pipeline = beam.Pipeline(argv=beam_args(arguments.workers))
    ingest(settings(path, arguments), output, pipeline)


def run_naive(path: str, output: str, arguments: argparse.Namespace) -> None:
    """The naive Beam job writes the same Examples under `output`."""
    import apache_beam as beam

    from benchmarks.ingestion import naive_beam

    pipeline = beam.Pipeline(argv=beam_args(arguments.workers))
    naive_beam.run(settings(path, arguments), output, pipeline, time.time())


def run_polars(path: str, output: str, arguments: argparse.Namespace) -> None:
    """Polars reads the file, sorts it and groups it by user. Writes nothing."""
    del output, arguments
    names = ["user", "item", "rating", "time"]
    table = polars.read_csv(path, has_header=False, new_columns=names)
    grouped = (
        table.sort("user", "time")
        .group_by("user", maintain_order=True)
        .agg(polars.col("item"), polars.col("time"))
    )
    assert grouped["item"].list.len().sum() == len(table)


def in_a_process(job: Any, path: str, output: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs a job in a new process and measures it.

    Args:
      job: function `(path, output, arguments)`; a dictionary it returns joins the result.
        It must be importable by name, so not from a `__main__` module.
      path: ratings to read.
      output: folder to write; emptied first.
      arguments: options of the benchmark.

    Returns:
      `seconds`, `peak_memory_mb` of the process and its children, and `output_bytes`.

    Raises:
      SystemExit: if the job fails.
    """
    shutil.rmtree(output, ignore_errors=True)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(job, path, output, arguments, sender))
    process.start()
    peak = [0]
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peak, stop))
    watcher.start()
    sender.close()
    try:
        result = receiver.recv()
    except EOFError:
        raise SystemExit(f"The job {job.__name__} failed; its error is above.") from None
    finally:
        process.join()
        stop.set()
        watcher.join()
    size = sum(file.stat().st_size for file in pathlib.Path(output).glob("Split-*/*"))
    return result | {"peak_memory_mb": peak[0] >> 20, "output_bytes": size}


def _child(job: Any, path: str, output: str, arguments: argparse.Namespace, sender: Any) -> None:
    # Imports take the same time in both Beam jobs and are not measured.
    import apache_beam  # noqa: F401
    import tensorflow  # noqa: F401
    import tfx.dsl.io.fileio  # noqa: F401

    start = time.perf_counter()
    result = job(path, output, arguments) or {}
    sender.send({"seconds": time.perf_counter() - start} | result)


def _watch(pid: int, peak: list[int], stop: threading.Event) -> None:
    """Stores in `peak` the largest resident memory of a process and its children, in bytes."""
    root = psutil.Process(pid)
    while not stop.wait(0.2):
        total = 0
        try:
            for process in (root, *root.children(recursive=True)):
                total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        peak[0] = max(peak[0], total)


def settings(path: str, arguments: argparse.Namespace) -> Settings:
    """Ingestion settings for the file at `path`."""
    return Settings(
        ratings=path,
        max_history_length=arguments.max_history_length,
        shift=arguments.shift,
        split=arguments.split,
    )


def beam_args(workers: int) -> list[str]:
    """Beam options: one worker runs in this process, more run as processes."""
    mode = "in_memory" if workers == 1 else "multi_processing"
    return [
        "--runner=DirectRunner",
        f"--direct_num_workers={workers}",
        f"--direct_running_mode={mode}",
    ]
