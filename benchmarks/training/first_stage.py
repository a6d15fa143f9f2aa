"""What the first stage costs: a training step with it and without, alternating in one process.

Example: python -m benchmarks.training.first_stage --output out

Step times are of whole models with their recipes, full histories and 100,000 items.
"""

import argparse
import os
import statistics
import time
from typing import Any

import numpy as np
import psutil

from benchmarks import reporting
from benchmarks.training import processes, steps
from experiments import machine

MODELS, LENGTHS = ("youtube_dnn", "din", "imn_3p_plus"), (100, 1_000)
ITEMS, CANDIDATES = 100_000, 500
_WANTED = 1.15


def compare(argument: tuple[str, int, int]) -> dict[str, Any]:
    """Median milliseconds of a step with and without a first stage; the two alternate.

    Args:
      argument: preset, history length, and the number of steps of each.
    """
    import tensorflow as tf

    from model import presets
    from model.ranker import build_ranker
    from model.scorer import DataSpec
    from model.training.optimizer import LazyAdam

    model, length, repeats = argument
    data = [
        {name: tf.constant(values) for name, values in batch.items()}
        for batch in steps.batches(length, steps.BATCH_SIZE, ITEMS)
    ]
    functions = {}
    for candidates in (0, CANDIDATES):
        config, recipe = presets.resolve(model)
        ranker = build_ranker(config, DataSpec(ITEMS, length), recipe, retrieval=candidates)
        ranker.optimizer = LazyAdam(recipe.learning_rate, recipe.table_learning_rate)
        ranker.optimizer.build(ranker.trainable_variables)
        functions[candidates] = tf.function(ranker.update_weights, autograph=False)
        functions[candidates](data[0])
    taken: dict[int, list[float]] = {candidates: [] for candidates in functions}
    for number in range(repeats + 1):
        for candidates, step in functions.items():
            start = time.perf_counter()
            step(data[number % len(data)])[0].total.numpy()
            taken[candidates].append(time.perf_counter() - start)
    without, with_stage = (statistics.median(taken[key][1:]) for key in (0, CANDIDATES))
    return {
        "model": model,
        "length": length,
        "without_ms": 1_000 * without,
        "with_ms": 1_000 * with_stage,
        "ratio": with_stage / without,
    }


def markdown(result: dict[str, Any]) -> str:
    """The table."""
    lines = [reporting.line(["model", "L", "step without", "with it", "ratio"]), reporting.rule(4)]
    for row in result["rows"]:
        times = (f"{row[name]:.1f} ms" for name in ("without_ms", "with_ms"))
        lines.append(reporting.line([row["model"], row["length"], *times, f"{row['ratio']:.2f}"]))
    targets = [
        {
            "target": f"step of {row['model']} at L = {row['length']}, ratio",
            "wanted": _WANTED,
            "measured": row["ratio"],
            "at_least": False,
            "met": row["ratio"] <= _WANTED,
        }
        for row in result["rows"]
    ]
    parts = ["# The first stage in training", reporting.conditions(result), "\n".join(lines)]
    return "\n\n".join([*parts, reporting.targets_table(targets)]) + "\n"


def picture(result: dict[str, Any], path: str) -> None:
    """Bars of the ratios."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3))
    names = [f"{row['model']}\nL = {row['length']}" for row in result["rows"]]
    axes.bar(np.arange(len(names)), [row["ratio"] for row in result["rows"]])
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_xticks(np.arange(len(names)), names, fontsize=7)
    axes.set_ylabel("step with it / without")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Runs the benchmark for the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training.first_stage", description=__doc__
    )
    parser.add_argument("--output", default="bench_out")
    parser.add_argument("--quick", action="store_true", help="YouTube DNN, L = 100, few steps")
    args = parser.parse_args()
    few = 1 if args.quick else None
    models, lengths, repeats = MODELS[:few], LENGTHS[:few], 3 if args.quick else 15
    limit = psutil.virtual_memory().total >> 20
    conditions = machine.describe(os.cpu_count() or 1, limit)
    here = "benchmarks.training.first_stage"
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "command": machine.origin(here)["command"],
        "machine": conditions,
        "rows": [
            processes.call(f"{here}:compare", (model, length, repeats), limit)
            for length in lengths
            for model in models
        ],
    }
    reporting.write("first_stage", args.output, result, markdown, picture)


if __name__ == "__main__":
    main()
