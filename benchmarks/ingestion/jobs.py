"""What the benchmarks of ingestion share: their files, their processes, their reports."""

import argparse
import json
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

from pipeline.configs import Settings

Result = dict[str, Any]


def parser(doc: str) -> argparse.ArgumentParser:
    """The options of both benchmarks; `doc` begins with what theirs says."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    made.add_argument("--ratings", required=True, help="file or glob of ratings, any layout")
    made.add_argument("--rows", type=int, help="ratings to ingest; as the file by default")
    made.add_argument("--output", default="bench_out", help="folder of the results")
    made.add_argument("--scratch", help="folder for what the jobs write, deleted at the end")
    made.add_argument("--max-history-length", type=int, default=100, help="L")
    made.add_argument("--shift", type=int, default=10, help="d")
    made.add_argument("--split", default="temporal", help="as the setting")
    made.add_argument("--repeats", type=int, default=3, help="runs of each job")
    return made


def report(
    name: str,
    arguments: argparse.Namespace,
    measure: Callable[[argparse.Namespace, str], Result],
    markdown: Callable[[Result], str],
    picture: Callable[[Result, str], None],
) -> None:
    """Measures in a scratch folder that is deleted; writes JSON, Markdown and a picture."""
    output = pathlib.Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    if arguments.scratch:
        os.makedirs(arguments.scratch, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        result = measure(arguments, scratch)
    (output / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    (output / f"{name}.md").write_text(markdown(result))
    picture(result, str(output / f"{name}.png"))
    print(markdown(result))


def replicate(ratings: str, rows: int | None, path: str) -> int:
    """Writes `rows` ratings in the 2014 layout; None means as many as there are.

    Copy c of the file has ids of its own for users and for items, in Amazon's shape.
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
    left = len(table) if rows is None else rows
    total = left
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


def run_polars(path: str, output: str, arguments: argparse.Namespace) -> None:
    """Reads, sorts and groups."""
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
    """Time, peak memory and output of a job, run in a process tree of its own.

    What the job returns is added, if it is a dictionary.
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
    # What importing takes is the same for both Beam jobs, and no part of them.
    import apache_beam  # noqa: F401
    import tensorflow  # noqa: F401
    import tfx.dsl.io.fileio  # noqa: F401

    start = time.perf_counter()
    result = job(path, output, arguments) or {}
    sender.send({"seconds": time.perf_counter() - start} | result)


def _watch(pid: int, peak: list[int], stop: threading.Event) -> None:
    """Keeps the largest sum of resident memory of a process and its descendants."""
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
    """The settings of a job on the file at `path`."""
    return Settings(
        ratings=path,
        max_history_length=arguments.max_history_length,
        shift=arguments.shift,
        split=arguments.split,
    )


def beam_args(workers: int) -> list[str]:
    """Beam's options for one worker in this process, or for several processes."""
    mode = "in_memory" if workers == 1 else "multi_processing"
    return [
        "--runner=DirectRunner",
        f"--direct_num_workers={workers}",
        f"--direct_running_mode={mode}",
    ]
