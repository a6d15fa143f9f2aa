"""Training speed and memory of each model by history length.

Measures examples/s and peak memory of a training step: batch 512, D = 32, full
histories, data in memory. The rows are IMN 3P+, its naive form, all other presets, DIN
of DeepCTR and FuxiCTR in their own environments, and a lower bound (lower_bound.py).
Then it measures real lengths, input from files, and a profile of the step.

Each measurement has its own process. Models and rounds take turns, so that a busy
moment slows all of them. A round counts its median step, and the fastest round counts.
Finished measurements are stored in OUTPUT/training_cells and reused.

Example: python -m benchmarks.training --ratings ratings.csv.gz --output out
"""

import argparse
import dataclasses
import json
import math
import os
import pathlib
import sys
import time
from typing import Any

import psutil

from benchmarks import reporting
from benchmarks.peers import environment
from benchmarks.training import figures, processes, report, steps
from benchmarks.training.figures import FLOOR, OURS, PEERS, PLAIN, REAL_LENGTH, RECIPE
from experiments import arguments, cache, machine

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# Rows with targets are measured in each round, the others only in the first.
COMPARED = (OURS, PLAIN, *PEERS, FLOOR)
OTHERS = (
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
LENGTHS = (50, 100, 200, 500, 1000, 2000)
PIPELINE_LENGTHS = (100, 1000)
# Of the free memory, so that the rest of the machine keeps running.
_MEMORY_SHARE = 0.9
# A larger shift for longer histories gives fewer samples, because rows of length 1,000 take long
# to write. Only their lengths matter here.
_SHIFT = {100: 10, 1000: 30}


def main() -> None:
    """Runs the benchmark for the command line."""
    options = _arguments()
    output = pathlib.Path(options.output)
    bench = Benchmark(options, output)
    rows, skipped = bench.cells()
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "command": "python -m benchmarks.training " + " ".join(sys.argv[1:]),
        "machine": machine.describe(options.threads, bench.limit_mb),
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
        result["real_lengths"] = bench.real_lengths()
    result["input_pipeline"] = bench.input_pipeline()
    result["profile"] = bench.profile()
    result["targets"] = figures.targets(result)
    reporting.write("training", output, result, report.markdown, report.picture)
    if bench.failed:
        sys.exit(f"Measurements failed: {'; '.join(bench.failed)}")


class Benchmark:
    """The measurements of one command; each is stored as soon as it is finished.

    Attributes:
      limit_mb: resident memory in MB that a measurement may take.
      failed: models whose measurement ended in an error other than a lack of memory, and why.
    """

    def __init__(self, options: argparse.Namespace, output: pathlib.Path):
        self._options = options
        self._cache = cache.ResultCache(output / "training_cells")
        self._batch_sizes: dict[tuple[str, int], int] = {}  # largest that fits, by model and length
        self.failed: list[str] = []
        self.limit_mb = _MEMORY_SHARE * psutil.virtual_memory().available / 2**20

    def cells(self) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """A row for each model and length, and the reason for each skipped model."""
        options = self._options
        pythons, skipped = {}, {}
        for model in [model for model in options.models if model in PEERS]:
            try:
                pythons[model] = environment.python(PEERS[model], options.cache, options.no_set_up)
            except environment.NotSetUp as reason:
                skipped[model] = str(reason)
        runs: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for number in range(options.rounds):
            for length in options.lengths:
                for model in options.models:
                    if model in skipped or (number and model not in COMPARED):
                        continue
                    measurement = steps.Measurement(
                        model, length, seconds=options.seconds, threads=options.threads
                    )
                    try:
                        run = self._cell(measurement, number, pythons)
                    except processes.OutOfMemory as error:
                        skipped[model] = str(error)
                        continue
                    except RuntimeError as error:
                        skipped[model] = str(error)
                        self.failed.append(f"{model} at {length}: {error}")
                        continue
                    runs.setdefault((model, length), []).append(run)
        rows = [figures.row(model, length, values) for (model, length), values in runs.items()]
        order = list(options.models)
        return sorted(
            rows, key=lambda row: (order.index(row["model"]), row["history_length"])
        ), skipped

    def real_lengths(self) -> dict[str, Any]:
        """IMN 3P+ and its naive form on samples of the ratings, padded to `REAL_LENGTH`."""
        files, items = self._samples(REAL_LENGTH)
        result: dict[str, Any] = {"history_length": REAL_LENGTH}
        runs: dict[str, list[dict[str, Any]]] = {}
        for number in range(self._options.rounds):
            for model in (PLAIN, OURS):
                argument = {
                    "model": model,
                    "files": files,
                    "length": REAL_LENGTH,
                    "items": items,
                    "threads": self._options.threads,
                    "batches": 12,
                    "seconds": self._options.seconds,
                }
                run = self._measured(
                    f"real-{model}-{number}", "training.records:real_lengths", argument
                )
                runs.setdefault(model, []).append(run)
        for model, values in runs.items():
            best = min(values, key=lambda run: run["step_seconds"])
            result[model] = {
                "examples_per_s": steps.BATCH_SIZE / best["step_seconds"],
                "peak_memory_mb": max(run["peak_memory_mb"] for run in values),
            }
            result["mean_length"], result["quantiles"] = best["mean_length"], best["quantiles"]
        result["ratio"] = result[OURS]["examples_per_s"] / result[PLAIN]["examples_per_s"]
        return result

    def input_pipeline(self) -> list[dict[str, Any]]:
        """An epoch from TFRecords and from memory, with full and with real lengths."""
        rows = []
        for length in sorted(set(PIPELINE_LENGTHS) & set(self._options.lengths)):
            batches = min(100, 20_000 // length)
            full = {
                "folder": os.path.join(self._options.cache, f"full-{length}-{batches}"),
                "length": length,
                "rows": batches * steps.BATCH_SIZE,
            }
            sources = {
                "full": processes.call("benchmarks.training.records:write_full", full, math.inf)
            }
            if self._options.ratings:
                sources["of the ratings"] = self._samples(length)
            for name, (files, items) in sources.items():
                argument = {
                    "files": files,
                    "length": length,
                    "items": items,
                    "threads": self._options.threads,
                    "batches": batches,
                }
                key = f"pipeline-{length}-{name.split()[0]}"
                run = self._measured(key, "training.records:pipeline", argument)
                overheads = {
                    f"overhead{kind}": run[f"records{kind}_seconds"] / run[f"memory{kind}_seconds"]
                    - 1
                    for kind in ("", "_cpu")
                }
                rows.append({"history_length": length, "lengths": name, **run, **overheads})
        return rows

    def profile(self) -> list[dict[str, Any]]:
        """Profiles of the IMN 3P+ step, at the shortest and the longest history length."""
        profiles = []
        for length in sorted({min(self._options.lengths), max(self._options.lengths)}):
            for model in (OURS, RECIPE):
                if model in self._options.models:
                    measurement = steps.Measurement(model, length, threads=self._options.threads)
                    name = f"profile-{model}-{length}"
                    run = self._measured(name, "training.step_profile:top_operations", measurement)
                    profiles.append({"model": model, "history_length": length, **run})
        return profiles

    def _samples(self, length: int) -> tuple[list[str], int]:
        settings = arguments.settings(
            argparse.Namespace(
                ratings=self._options.ratings,
                max_history_length=length,
                output=self._options.output,
            ),
            recipe=False,
        )
        argument = {
            "settings": dataclasses.replace(settings, shift=_SHIFT[length], split="user"),
            "cache": self._options.cache,
        }
        return processes.call("benchmarks.training.records:prepare", argument, math.inf)

    def _cell(
        self, measurement: steps.Measurement, number: int, pythons: dict[str, str]
    ) -> dict[str, Any]:
        """Runs a measurement; halves the batch until it fits into memory."""

        def measure() -> dict[str, Any]:
            size = self._batch_sizes.get(
                (measurement.model, measurement.length), measurement.batch_size
            )
            while True:
                try:
                    run = self._run(dataclasses.replace(measurement, batch_size=size), pythons)
                    return {**run, "batch_size": size}
                except processes.OutOfMemory:
                    print(
                        f"{measurement.model} at {measurement.length}: {size} rows do not fit",
                        flush=True,
                    )
                if size == 1:
                    raise processes.OutOfMemory(
                        f"a batch of one row does not fit into memory at L = {measurement.length}"
                    )
                size //= 2

        key = {"cell": dataclasses.asdict(measurement), "code": _code(measurement.model)}
        run = self._cache.get(f"{measurement.model}-{measurement.length}-{number}", key, measure)
        self._batch_sizes[measurement.model, measurement.length] = run["batch_size"]
        return run

    def _run(self, measurement: steps.Measurement, pythons: dict[str, str]) -> dict[str, Any]:
        if measurement.model not in PEERS:
            return processes.call(
                "benchmarks.training.measurements:measure", measurement, self.limit_mb
            )
        module = f"benchmarks.peers.{measurement.model}"
        # Passive threads, because busy waiting would count as CPU time. The other environments may
        # not have Keras 2 under its legacy name.
        variables = {
            "PYTHONPATH": str(_ROOT),
            "OMP_WAIT_POLICY": "passive",
            "TF_USE_LEGACY_KERAS": "0",
        }
        command = [
            pythons[measurement.model],
            "-m",
            module,
            json.dumps(dataclasses.asdict(measurement)),
        ]
        return processes.command(command, variables, self.limit_mb)

    def _measured(self, name: str, function: str, argument: Any) -> dict[str, Any]:
        key = dataclasses.asdict(argument) if isinstance(argument, steps.Measurement) else argument
        return self._cache.get(
            name,
            {"argument": key, "code": _code(OURS)},
            lambda: processes.call(f"benchmarks.{function}", argument, self.limit_mb),
        )


def _code(model: str) -> str:
    """Digest of the sources that determine the speed of a row."""
    shared = "benchmarks/training/steps.py"
    if model in PEERS:
        return cache.code(
            shared, f"benchmarks/peers/{model}.py", f"requirements/bench-{PEERS[model]}.txt"
        )
    if model == FLOOR:
        return cache.code(shared, "benchmarks/training/lower_bound.py")
    sources = (
        "benchmarks/training/measurements.py",
        "benchmarks/training/records.py",
        "benchmarks/training/naive_imn.py",
    )
    return cache.code(shared, *sources, "model/**/*.py")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*COMPARED, *OTHERS]
    parser.add_argument("--ratings", help="file or glob of ratings, to measure real lengths too")
    parser.add_argument("--models", nargs="+", default=names, choices=names, metavar="ROW")
    parser.add_argument("--lengths", nargs="+", type=int, default=list(LENGTHS))
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
