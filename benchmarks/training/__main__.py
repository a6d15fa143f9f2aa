"""How fast each system trains, and in how much memory, as histories grow.

Examples a second and peak memory of a step of training, batch 512, D = 32, every
history full, data in memory: IMN 3P+ as shipped, the same written as its
equations stand, every other preset, DIN of DeepCTR and of FuxiCTR in
environments of their own, and the floor (benchmarks/training/lower_bound.py). Then real
lengths, the input pipeline against memory, and a profile of the step.

Each cell is a process of its own. The rows take turns, and their rounds too, so
that a busy moment meets all of them; of the rounds the fastest counts, in a round
the median of the steps. Finished cells are kept under OUTPUT/training_cells.

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

from benchmarks.peers import environment
from benchmarks.training import figures, processes, report, steps
from benchmarks.training.figures import FLOOR, OURS, PEERS, PLAIN, REAL_LENGTH, RECIPE
from experiments import arguments, cache, machine

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# Rows that a target speaks of are measured in every round, the others in the first alone.
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
# Of the memory that is free: the rest of the machine goes on living.
_MEMORY_SHARE = 0.9
# Samples of ratings, whose lengths are what matters here, are fewer the longer they are: their
# rows of 1,000 places take long to write. Eval and test are least with whole users in each.
_SHIFT = {100: 10, 1000: 30}


def main() -> None:
    """Runs the benchmark for the command line."""
    given = _arguments()
    output = pathlib.Path(given.output)
    output.mkdir(parents=True, exist_ok=True)
    bench = Benchmark(given, output)
    rows, skipped = bench.cells()
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "command": "python -m benchmarks.training " + " ".join(sys.argv[1:]),
        "machine": machine.describe(given.threads, bench.limit_mb),
        "batch_size": steps.BATCH_SIZE,
        "dim": steps.DIM,
        "items": steps.ITEMS,
        "rounds": given.rounds,
        "rows": rows,
        "skipped": skipped,
        "ratios": figures.ratios(rows),
        "cpu_ratios": figures.ratios(rows, "cpu"),
        "exponents": figures.exponents(rows),
    }
    if given.ratings:
        result["real_lengths"] = bench.real_lengths()
    result["input_pipeline"] = bench.input_pipeline()
    result["profile"] = bench.profile()
    result["targets"] = figures.targets(result)
    (output / "training.json").write_text(json.dumps(result, indent=1) + "\n")
    (output / "training.md").write_text(report.markdown(result))
    report.picture(result, str(output / "training.png"))
    print(report.markdown(result))


class Benchmark:
    """The measurements of one command, each kept as soon as it is there."""

    def __init__(self, given: argparse.Namespace, output: pathlib.Path):
        self._given = given
        self._kept = cache.ResultCache(output / "training_cells")
        self._fits: dict[tuple[str, int], int] = {}  # rows of a batch, by model and length
        self.limit_mb = _MEMORY_SHARE * psutil.virtual_memory().available / 2**20

    def cells(self) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """A row for each model and length, and the models left out with the reason."""
        given = self._given
        pythons, skipped = {}, {}
        for model in [model for model in given.models if model in PEERS]:
            try:
                pythons[model] = environment.python(PEERS[model], given.cache, given.no_set_up)
            except environment.NotSetUp as reason:
                skipped[model] = str(reason)
        found: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for place in range(given.rounds):
            for length in given.lengths:
                for model in given.models:
                    if model in skipped or (place and model not in COMPARED):
                        continue
                    cell = steps.Measurement(
                        model, length, seconds=given.seconds, threads=given.threads
                    )
                    try:
                        one = self._cell(cell, place, pythons)
                    except RuntimeError as error:
                        skipped[model] = str(error)
                        continue
                    found.setdefault((model, length), []).append(one)
        rows = [figures.row(model, length, runs) for (model, length), runs in found.items()]
        order = list(given.models)
        return sorted(
            rows, key=lambda row: (order.index(row["model"]), row["history_length"])
        ), skipped

    def real_lengths(self) -> dict[str, Any]:
        """Both forms of IMN 3P+ on samples of the ratings, padded to `REAL_LENGTH`."""
        files, items = self._samples(REAL_LENGTH)
        found: dict[str, Any] = {"history_length": REAL_LENGTH}
        runs: dict[str, list[dict[str, Any]]] = {}
        for place in range(self._given.rounds):
            for model in (PLAIN, OURS):
                argument = {
                    "model": model,
                    "files": files,
                    "length": REAL_LENGTH,
                    "items": items,
                    "threads": self._given.threads,
                    "batches": 12,
                    "seconds": self._given.seconds,
                }
                run = self._measured(
                    f"real-{model}-{place}", "training.records:real_lengths", argument
                )
                runs.setdefault(model, []).append(run)
        for model, of in runs.items():
            best = min(of, key=lambda run: run["step_seconds"])
            found[model] = {
                "examples_per_s": steps.BATCH_SIZE / best["step_seconds"],
                "peak_memory_mb": max(run["peak_memory_mb"] for run in of),
            }
            found["mean_length"], found["quantiles"] = best["mean_length"], best["quantiles"]
        found["ratio"] = found[OURS]["examples_per_s"] / found[PLAIN]["examples_per_s"]
        return found

    def input_pipeline(self) -> list[dict[str, Any]]:
        """An epoch from TFRecords against memory, for full and for real lengths."""
        rows = []
        for length in sorted(set(PIPELINE_LENGTHS) & set(self._given.lengths)):
            batches = min(100, 20_000 // length)
            full = {
                "folder": os.path.join(self._given.cache, f"full-{length}-{batches}"),
                "length": length,
                "rows": batches * steps.BATCH_SIZE,
            }
            sources = {
                "full": processes.call("benchmarks.training.records:write_full", full, math.inf)
            }
            if self._given.ratings:
                sources["of the ratings"] = self._samples(length)
            for name, (files, items) in sources.items():
                argument = {
                    "files": files,
                    "length": length,
                    "items": items,
                    "threads": self._given.threads,
                    "batches": batches,
                }
                key = f"pipeline-{length}-{name.split()[0]}"
                run = self._measured(key, "training.records:pipeline", argument)
                more = {
                    f"overhead{kind}": run[f"records{kind}_seconds"] / run[f"memory{kind}_seconds"]
                    - 1
                    for kind in ("", "_cpu")
                }
                rows.append({"history_length": length, "lengths": name, **run, **more})
        return rows

    def profile(self) -> list[dict[str, Any]]:
        """What the step of IMN 3P+ spends its time in, with short and with long histories."""
        found = []
        for length in sorted({min(self._given.lengths), max(self._given.lengths)}):
            for model in (OURS, RECIPE):
                if model in self._given.models:
                    cell = steps.Measurement(model, length, threads=self._given.threads)
                    name = f"profile-{model}-{length}"
                    run = self._measured(name, "training.step_profile:top_operations", cell)
                    found.append({"model": model, "history_length": length, **run})
        return found

    def _samples(self, length: int) -> tuple[list[str], int]:
        settings = arguments.settings(
            argparse.Namespace(
                ratings=self._given.ratings, max_history_length=length, output=self._given.output
            ),
            recipe=False,
        )
        argument = {
            "settings": dataclasses.replace(settings, shift=_SHIFT[length], split="user"),
            "cache": self._given.cache,
        }
        return processes.call("benchmarks.training.records:prepare", argument, math.inf)

    def _cell(self, cell: steps.Measurement, place: int, pythons: dict[str, str]) -> dict[str, Any]:
        """A measurement of a cell; where it runs out of memory, of the largest batch that fits."""

        def measure() -> dict[str, Any]:
            size = self._fits.get((cell.model, cell.length), cell.batch_size)
            while True:
                try:
                    run = self._run(dataclasses.replace(cell, batch_size=size), pythons)
                    return {**run, "batch_size": size}
                except processes.OutOfMemory:
                    print(f"{cell.model} at {cell.length}: {size} rows do not fit", flush=True)
                if size == 1:
                    raise RuntimeError(f"not even one row fits into memory at L = {cell.length}")
                size //= 2

        key = {"cell": dataclasses.asdict(cell), "code": _code(cell.model)}
        run = self._kept.get(f"{cell.model}-{cell.length}-{place}", key, measure)
        self._fits[cell.model, cell.length] = run["batch_size"]
        return run

    def _run(self, cell: steps.Measurement, pythons: dict[str, str]) -> dict[str, Any]:
        if cell.model not in PEERS:
            return processes.call("benchmarks.training.measurements:measure", cell, self.limit_mb)
        module, told = f"benchmarks.peers.{cell.model}", json.dumps(dataclasses.asdict(cell))
        # Threads that wait by turning would be measured, and hinder what else is running; a
        # Keras that is chosen for us need not be installed there.
        environment_of = {
            "PYTHONPATH": str(_ROOT),
            "OMP_WAIT_POLICY": "passive",
            "TF_USE_LEGACY_KERAS": "0",
        }
        command = [pythons[cell.model], "-m", module, told]
        return processes.command(command, environment_of, self.limit_mb)

    def _measured(self, name: str, function: str, argument: Any) -> dict[str, Any]:
        shown = (
            dataclasses.asdict(argument) if isinstance(argument, steps.Measurement) else argument
        )
        return self._kept.get(
            name,
            {"argument": shown, "code": _code(OURS)},
            lambda: processes.call(f"benchmarks.{function}", argument, self.limit_mb),
        )


def _code(model: str) -> str:
    """A digest of the sources that a row's speed depends on."""
    shared = "benchmarks/training/steps.py"
    if model in PEERS:
        return cache.code(
            shared, f"benchmarks/peers/{model}.py", f"requirements/bench-{PEERS[model]}.txt"
        )
    if model == FLOOR:
        return cache.code(shared, "benchmarks/training/lower_bound.py")
    own = (
        "benchmarks/training/measurements.py",
        "benchmarks/training/records.py",
        "benchmarks/training/naive_imn.py",
    )
    return cache.code(shared, *own, "model/**/*.py")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*COMPARED, *OTHERS]
    parser.add_argument(
        "--ratings", help="file or glob of ratings: their lengths are measured as well"
    )
    parser.add_argument("--models", nargs="+", default=names, choices=names, metavar="ROW")
    parser.add_argument("--lengths", nargs="+", type=int, default=list(LENGTHS))
    parser.add_argument("--rounds", type=int, default=3, help="of the rows with targets")
    parser.add_argument("--seconds", type=float, default=2.0, help="measured in a cell")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="few rows, short, one round")
    parser.add_argument("--no-set-up", action="store_true", help="makes no environment")
    parser.add_argument("--output", default="bench_out", help="folder of results, finished cells")
    parser.add_argument("--cache", default="bench_out/cache", help="samples and environments")
    given = parser.parse_args()
    if given.quick:
        given.models, given.lengths = [*COMPARED, "din"], [50, 200]
        given.rounds, given.seconds, given.no_set_up = 1, 1.0, True
    return given


if __name__ == "__main__":
    arguments.run(main)
