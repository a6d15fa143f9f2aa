"""How fast ingestion is, and how much memory it takes.

Three jobs on the same ratings: ours, the same work written an element at a time
(`plain_ingest`), and Polars reading, sorting and grouping alone, which is less
work and shows what is left. Each runs in a process of its own, as often as
asked; the best time counts. Examples of ours and of the plain job are compared
by a digest. Of more rows than the file has, the rest are the same users with
new ids.

Example: python -m benchmarks.ingest --ratings ratings.csv.gz --rows 1000000 --output out
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import shutil
import tempfile
import threading
import time
from typing import Any

import matplotlib
import numpy as np
import polars
import psutil
import pyarrow as pa

from pipeline.configs import Settings

matplotlib.use("Agg")
JOBS = ("ours", "plain", "polars")


def main() -> None:
    """Runs the benchmark for the command line."""
    arguments = _arguments()
    output = pathlib.Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    if arguments.scratch:
        os.makedirs(arguments.scratch, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        result = measure(arguments, scratch)
    (output / "ingest.json").write_text(json.dumps(result, indent=2) + "\n")
    (output / "ingest.md").write_text(_markdown(result))
    _picture(result, str(output / "ingest.png"))
    print(_markdown(result))


def measure(arguments: argparse.Namespace, scratch: str) -> dict[str, Any]:
    """Times, memory, sizes and digests of the jobs."""
    rows = {"ours": arguments.rows, "polars": arguments.rows}
    rows["plain"] = arguments.plain_rows if arguments.plain_rows is not None else arguments.rows
    paths: dict[int | None, tuple[str, int]] = {}
    for count in set(rows.values()):
        path = os.path.join(scratch, f"ratings-{count}.csv")
        paths[count] = (path, replicate(arguments.ratings, count, path))
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
            run = in_a_process(_JOBS[name], path, os.path.join(scratch, name), arguments)
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


def replicate(ratings: str, rows: int | None, path: str) -> int:
    """Writes `rows` ratings in the 2014 layout; None means as many as there are.

    Copy c of the file has ids of its own for users and for items, in Amazon's shape.
    """
    from pipeline.ingest import files, readers  # TensorFlow comes with them

    now = time.time()
    parts, _ = files.plan(files.list_files(ratings), "auto")
    tables = [
        readers.parse(part, block, 0.0, now).events
        for part in parts
        for block in files.read_blocks(part)
    ]
    table = pa.Table.from_batches(tables)
    user, item = (
        table[name].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
        for name in ("user", "item")
    )
    times = table["time"].to_numpy()
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


def _ours(path: str, output: str, arguments: argparse.Namespace) -> None:
    import apache_beam as beam

    from pipeline.ingest.job import ingest

    ingest(settings(path, arguments), output, beam.Pipeline(argv=beam_args(arguments.workers)))


def _plain(path: str, output: str, arguments: argparse.Namespace) -> None:
    import apache_beam as beam

    from benchmarks import plain_ingest

    pipeline = beam.Pipeline(argv=beam_args(arguments.workers))
    plain_ingest.run(settings(path, arguments), output, pipeline, time.time())


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


_JOBS = {"ours": _ours, "plain": _plain, "polars": run_polars}


def _compare(arguments: argparse.Namespace, path: str, scratch: str) -> dict[str, Any]:
    """Digests of both jobs' examples on the rows that the plain one was given."""
    from benchmarks import example_digest

    if arguments.plain_rows is not None and arguments.plain_rows != arguments.rows:
        in_a_process(_ours, path, os.path.join(scratch, "ours"), arguments)
    ours, plain = (example_digest.digest(os.path.join(scratch, name)) for name in ("ours", "plain"))
    return {"digest": ours, "same_examples": ours == plain}


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ratings", required=True, help="file or glob of ratings, any layout")
    parser.add_argument("--rows", type=int, help="ratings to ingest; as the file by default")
    parser.add_argument("--plain-rows", type=int, help="ratings for the plain job; 0 leaves it out")
    parser.add_argument("--output", default="bench_out", help="folder of the results")
    parser.add_argument("--scratch", help="folder for what the jobs write, deleted at the end")
    parser.add_argument("--max-history-length", type=int, default=100, help="L")
    parser.add_argument("--shift", type=int, default=10, help="d")
    parser.add_argument("--split", default="temporal", help="as the setting")
    parser.add_argument("--workers", type=int, default=1, help="more than one are processes")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each job")
    return parser.parse_args()


if __name__ == "__main__":
    main()
