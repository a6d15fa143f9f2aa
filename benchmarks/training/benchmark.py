"""The measurements of the training benchmark: all rows, real lengths, input from files, profile."""

import argparse
import dataclasses
import json
import math
import os
import pathlib
from typing import Any

import psutil

from benchmarks.peers import environment
from benchmarks.training import figures, processes, steps
from benchmarks.training.figures import FLOOR, OURS, PEERS, PLAIN, REAL_LENGTH, RECIPE
from experiments import arguments, cache

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# Rows with targets are measured in each round, the others only in the first.
COMPARED = (OURS, PLAIN, *PEERS, FLOOR)
_PIPELINE_LENGTHS = (100, 1000)
# Of the free memory, so that the rest of the machine keeps running.
_MEMORY_SHARE = 0.9
# A larger shift gives fewer samples: rows of length 1,000 take long to write. Only the lengths of
# the histories matter here.
_SHIFT = {100: 10, 1000: 30}


class Benchmark:
    """The measurements of one command; each is stored as soon as it is finished.

    Attributes:
      limit_mb: resident memory in MB that a measurement may take.
      failed: models whose measurement ended in an error other than a lack of memory, and why.
    """

    def __init__(self, options: argparse.Namespace, output: pathlib.Path):
        self._options = options
        self._cache = cache.ResultCache(output / "training_cells")
        # The largest batch that fits, by model and length.
        self._batch_sizes: dict[tuple[str, int], int] = {}
        self._pythons: dict[str, str] = {}  # interpreters of the other libraries, by model
        self.failed: list[str] = []
        self.limit_mb = _MEMORY_SHARE * psutil.virtual_memory().available / 2**20

    def rows(self) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """A row for each model and length, and the reason for each skipped model."""
        options = self._options
        skipped = {}
        for model in [model for model in options.models if model in PEERS]:
            try:
                python = environment.python(PEERS[model], options.cache, options.no_set_up)
                self._pythons[model] = python
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
                        run = self._step_that_fits(measurement, number)
                    except processes.OutOfMemory as error:
                        skipped[model] = str(error)
                        continue
                    except RuntimeError as error:
                        skipped[model] = str(error)
                        self.failed.append(f"{model} at {length}: {error}")
                        continue
                    runs.setdefault((model, length), []).append(run)
        order = list(options.models)
        rows = [figures.row(model, length, values) for (model, length), values in runs.items()]
        rows.sort(key=lambda row: (order.index(row["model"]), row["history_length"]))
        return rows, skipped

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
                run = self._cached_call(
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
        for length in sorted(set(_PIPELINE_LENGTHS) & set(self._options.lengths)):
            batches = min(100, 20_000 // length)
            full = {
                "folder": os.path.join(self._options.cache, f"full-{length}-{batches}"),
                "length": length,
                "rows": batches * steps.BATCH_SIZE,
            }
            datasets = {
                "full": processes.call("benchmarks.training.records:write_full", full, math.inf)
            }
            if self._options.ratings:
                datasets["of the ratings"] = self._samples(length)
            for name, (files, items) in datasets.items():
                argument = {
                    "files": files,
                    "length": length,
                    "items": items,
                    "threads": self._options.threads,
                    "batches": batches,
                }
                key = f"pipeline-{length}-{name.split()[0]}"
                run = self._cached_call(key, "training.records:pipeline", argument)
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
                    run = self._cached_call(
                        name, "training.step_profile:top_operations", measurement
                    )
                    profiles.append({"model": model, "history_length": length, **run})
        return profiles

    def _samples(self, length: int) -> tuple[list[str], int]:
        """Files of training samples of the ratings, and the rows of the item table."""
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

    def _step_that_fits(self, measurement: steps.Measurement, number: int) -> dict[str, Any]:
        """Measures a step in round `number`; halves the batch until it fits into memory.

        Raises:
          OutOfMemory: if a batch of one row does not fit.
        """

        def measure() -> dict[str, Any]:
            size = self._batch_sizes.get(
                (measurement.model, measurement.length), measurement.batch_size
            )
            while True:
                try:
                    run = self._step(dataclasses.replace(measurement, batch_size=size))
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

    def _step(self, measurement: steps.Measurement) -> dict[str, Any]:
        """Measures a step in a new process."""
        if measurement.model not in PEERS:
            return processes.call(
                "benchmarks.training.measurements:measure", measurement, self.limit_mb
            )
        # Threads wait passively, because busy waiting would count as CPU time. Legacy Keras is off,
        # because the other environments may not have it.
        variables = {
            "PYTHONPATH": str(_ROOT),
            "OMP_WAIT_POLICY": "passive",
            "TF_USE_LEGACY_KERAS": "0",
        }
        command = [
            self._pythons[measurement.model],
            "-m",
            f"benchmarks.peers.{measurement.model}",
            json.dumps(dataclasses.asdict(measurement)),
        ]
        return processes.command(command, variables, self.limit_mb)

    def _cached_call(self, name: str, function: str, argument: Any) -> dict[str, Any]:
        """The result of a function `module:name` of `benchmarks` in a new process; cached."""
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
