"""Training speed and memory of each model by history length.

Measures examples/s and peak memory of a training step: batch 512, D = 32, full histories, data in
memory. The rows are IMN 3P+, its naive form, all other presets, DIN of DeepCTR and FuxiCTR in
their own environments, and a lower bound (`lower_bound.py`). With `--ratings`, real lengths
follow. Input from files and a profile of the step come last.

Each measurement has its own process. Models take turns in each round, so that a busy moment slows
all of them. The result of a round is its median step; the fastest round counts. Finished
measurements are stored in OUTPUT/training_cells and reused.

Example: python -m benchmarks.training --ratings ratings.csv.gz --output out
"""

import argparse
import os
import pathlib
import sys
import time
from typing import Any

from benchmarks import reporting
from benchmarks.training import figures, report, steps
from benchmarks.training.benchmark import COMPARED, Benchmark
from benchmarks.training.figures import RECIPE
from experiments import arguments, machine

_OTHERS = (
    RECIPE,
    "imn_3p",
    "imn_3p_plain",
    "imn_2p",
    "youtube_dnn",
    "din",
    "dien",
    "sasrec",
    "mimn",
    "ubr4ctr",
)
_LENGTHS = (50, 100, 200, 500, 1000, 2000)


def main() -> None:
    """Runs the benchmark for the command line."""
    options = _arguments()
    output = pathlib.Path(options.output)
    benchmark = Benchmark(options, output)
    rows, skipped = benchmark.rows()
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "command": "python -m benchmarks.training " + " ".join(sys.argv[1:]),
        "machine": machine.describe(options.threads, benchmark.limit_mb),
        "batch_size": steps.BATCH_SIZE,
        "dim": steps.DIM,
        "items": steps.ITEMS,
        "rounds": options.rounds,
        "rows": rows,
        "skipped": skipped,
        "ratios": figures.ratios(rows),
        "cpu_ratios": figures.ratios(rows, "cpu"),
        "exponents": figures.exponents(rows),
    }
    if options.ratings:
        result["real_lengths"] = benchmark.real_lengths()
    result["input_pipeline"] = benchmark.input_pipeline()
    result["profile"] = benchmark.profile()
    result["targets"] = figures.targets(result)
    reporting.write("training", output, result, report.markdown, report.picture)
    if benchmark.failed:
        sys.exit(f"Measurements failed: {'; '.join(benchmark.failed)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rows = [*COMPARED, *_OTHERS]
    parser.add_argument("--ratings", help="file or glob of ratings, to measure real lengths too")
    parser.add_argument("--models", nargs="+", default=rows, choices=rows, metavar="ROW")
    parser.add_argument("--lengths", nargs="+", type=int, default=list(_LENGTHS))
    parser.add_argument("--rounds", type=int, default=3, help="rounds for rows with targets")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds for each measurement")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="few rows, short, one round")
    parser.add_argument(
        "--no-set-up", action="store_true", help="do not create environments of other libraries"
    )
    parser.add_argument(
        "--output", default="bench_out", help="folder of results and finished measurements"
    )
    parser.add_argument(
        "--cache", default="bench_out/cache", help="folder of samples and environments"
    )
    options = parser.parse_args()
    if options.quick:
        options.models, options.lengths = [*COMPARED, "din"], [50, 200]
        options.rounds, options.seconds, options.no_set_up = 1, 1.0, True
    return options


if __name__ == "__main__":
    arguments.run(main)
