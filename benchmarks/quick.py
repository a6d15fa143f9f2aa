"""The quick form of the speed benchmarks, on generated ratings: `make bench`.

It shows that each benchmark runs and ends in a table of their key figures. Quote
figures only from the full forms on real ratings.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.local import sample_data

Result = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """One benchmark in its quick form.

    Attributes:
      name: module under `benchmarks`.
      report: name of its JSON, Markdown and picture, without extension.
      arguments: options that make it quick.
      key_figure: the figure to show, with its unit, from the JSON.
      reads_ratings: whether it takes `--ratings`.
    """

    name: str
    report: str
    arguments: tuple[str, ...]
    key_figure: Callable[[Result], str]
    reads_ratings: bool = False


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One line of the final table."""

    name: str
    seconds: float
    status: int
    key_figure: str
    report: str


def _ingestion(result: Result) -> str:
    return f"{result['jobs']['ours']['rows_per_second']:,.0f} ratings/s in one process"


def _stages(result: Result) -> str:
    return f"two processes are {result['one_over_two']:.2f} times as fast as one"


def _serving(result: Result) -> str:
    rows = [row for row in result["rows"] if (row["method"], row["clients"]) == ("rank", 1)]
    row = max(rows, key=lambda row: (row["model"] == "imn_3p_plus", row["candidates"]))
    return (
        f"{row['p50_ms']:.1f} ms at the median for {row['candidates']} candidates, "
        f"L = {row['history_length']}"
    )


def _training(result: Result) -> str:
    rows = [row for row in result["rows"] if row["model"] == "imn_3p_plus"]
    row = max(rows, key=lambda row: row["history_length"])
    if row["out_of_memory"]:
        return f"IMN 3P+ runs out of memory at L = {row['history_length']}"
    return f"{row['examples_per_s']:,.0f} examples/s for IMN 3P+, L = {row['history_length']}"


def _scale(result: Result) -> str:
    return f"{result['constants']['bytes_an_item']:.0f} bytes of memory for each item"


BENCHMARKS = (
    Benchmark("ingestion", "ingest", ("--rows", "100000", "--repeats", "1"), _ingestion, True),
    Benchmark("ingestion.stages", "ingest_stages", ("--quick",), _stages, True),
    Benchmark("serving", "serving", ("--quick",), _serving),
    Benchmark("training", "training", ("--quick",), _training),
    Benchmark("scale", "scale", ("--quick",), _scale),
)


def run(benchmark: Benchmark, output: str, ratings: str) -> Outcome:
    """Runs a benchmark in its own process and reads its key figure from its JSON."""
    command = [sys.executable, "-m", f"benchmarks.{benchmark.name}", "--output", output]
    if benchmark.reads_ratings:
        command += ["--ratings", ratings]
    start = time.perf_counter()
    status = subprocess.run([*command, *benchmark.arguments]).returncode
    seconds = time.perf_counter() - start
    if status:  # The files in `output` may be from an earlier run.
        return Outcome(benchmark.name, seconds, status, "failed; its error is above", "-")
    path = pathlib.Path(output, benchmark.report)
    key_figure = benchmark.key_figure(json.loads(path.with_suffix(".json").read_text()))
    return Outcome(benchmark.name, seconds, status, key_figure, str(path.with_suffix(".md")))


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as aligned columns, one benchmark a line."""
    lines = [("benchmark", "seconds", "exit status", "key figure", "report")]
    lines += [
        (each.name, f"{each.seconds:.0f}", str(each.status), each.key_figure, each.report)
        for each in outcomes
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def main() -> int:
    """Runs all benchmarks; returns the first exit status that is not 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__)
    parser.add_argument("--output", default="bench_out", help="folder of the results")
    output = parser.parse_args().output
    ratings = os.path.join(output, "generated_ratings.csv")
    sample_data.write_ratings(ratings)
    outcomes = [run(benchmark, output, ratings) for benchmark in BENCHMARKS]
    print("\n" + table(outcomes))
    return next((outcome.status for outcome in outcomes if outcome.status), 0)


if __name__ == "__main__":
    sys.exit(main())
