"""What attributes cost: a training step with two fields and without, alternating in one process.

Example: python -m benchmarks.training.attributes --output out

Step times are of IMN 3P+ with its recipe and full histories; the memory is that of one process
with a table of `--items` items.
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

LENGTHS = (100, 1_000)
ITEMS, LARGE = 100_000, 5_000_000
# Rows of the two fields and values of an item: as category and brand of Amazon's files.
_FIELDS = {"category": (5_000, 6), "brand": (50_000, 1)}
_WANTED = 1.25
_MOST_MB = 3_500


def ranker(items: int, length: int, attributes: bool) -> Any:
    """IMN 3P+ with its recipe and optimizer, on a table of `items` items."""
    from model import presets
    from model.ranker import build_ranker
    from model.scorer import DataSpec
    from model.training.optimizer import LazyAdam
    from transforms import item_table
    from transforms.item_attributes import ItemAttributes
    from transforms.item_ids import ItemIds

    config, recipe = presets.resolve("imn_3p_plus")
    table, sizes = None, {}
    if attributes:
        rng = np.random.default_rng(0)
        sizes = {name: rows for name, (rows, _) in _FIELDS.items()}
        values = {
            name: rng.integers(item_table.FIRST_VALUE, rows, (items, width), np.int32)
            for name, (rows, width) in _FIELDS.items()
        }
        layout = ItemIds(1, items - 2, items)
        table = ItemAttributes(layout, np.arange(items, dtype=np.int32), values, sizes)
    built = build_ranker(config, DataSpec(items, length, attributes=sizes), recipe, 0, table)
    built.optimizer = LazyAdam(recipe.learning_rate, recipe.table_learning_rate)
    built.optimizer.build(built.trainable_variables)
    return built


def compare(argument: tuple[int, int]) -> dict[str, Any]:
    """Median milliseconds of a step with and without attributes; the two alternate.

    Args:
      argument: history length, and the number of steps of each.
    """
    length, repeats = argument
    import tensorflow as tf

    data = [
        {name: tf.constant(values) for name, values in batch.items()}
        for batch in steps.batches(length, steps.BATCH_SIZE, ITEMS)
    ]
    functions = {}
    for attributes in (False, True):
        built = ranker(ITEMS, length, attributes)
        functions[attributes] = tf.function(built.update_weights, autograph=False)
        functions[attributes](data[0])
    taken: dict[bool, list[float]] = {False: [], True: []}
    for number in range(repeats + 1):
        for attributes, step in functions.items():
            start = time.perf_counter()
            step(data[number % len(data)])[0].total.numpy()
            taken[attributes].append(time.perf_counter() - start)
    without, with_fields = (statistics.median(taken[key][1:]) for key in (False, True))
    return {
        "length": length,
        "without_ms": 1_000 * without,
        "with_ms": 1_000 * with_fields,
        "ratio": with_fields / without,
    }


def memory(items: int) -> int:
    """Peak memory in MB of this process after two steps with attributes."""
    import tensorflow as tf

    built = ranker(items, 100, True)
    for batch in steps.batches(100, steps.BATCH_SIZE, items)[:2]:
        built.update_weights({name: tf.constant(values) for name, values in batch.items()})
    return steps.peak_memory_mb()


def markdown(result: dict[str, Any]) -> str:
    """The tables."""
    rows = [
        reporting.line(["L", "step without", "with two fields", "ratio"]),
        reporting.rule(3),
        *(
            reporting.line(
                [
                    row["length"],
                    f"{row['without_ms']:.0f} ms",
                    f"{row['with_ms']:.0f} ms",
                    f"{row['ratio']:.2f}",
                ]
            )
            for row in result["rows"]
        ),
    ]
    targets = [
        _target(f"step at L = {row['length']}, ratio", _WANTED, row["ratio"])
        for row in result["rows"]
    ]
    targets.append(_target(f"MB at {result['items']:,} items", _MOST_MB, result["memory_mb"]))
    parts = ["# Attributes in training", reporting.conditions(result), "\n".join(rows)]
    return "\n\n".join([*parts, reporting.targets_table(targets)]) + "\n"


def _target(name: str, most: float, measured: float) -> dict[str, Any]:
    return {
        "target": name,
        "wanted": most,
        "measured": measured,
        "at_least": False,
        "met": measured <= most,
    }


def picture(result: dict[str, Any], path: str) -> None:
    """Bars of the step times."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3))
    places = np.arange(len(result["rows"]))
    for shift, key, label in ((-0.2, "without_ms", "ids"), (0.2, "with_ms", "ids, two fields")):
        axes.bar(places + shift, [row[key] for row in result["rows"]], 0.4, label=label)
    axes.set_xticks(places, [f"L = {row['length']}" for row in result["rows"]])
    axes.set_ylabel("ms a step")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Runs the benchmark for the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training.attributes", description=__doc__
    )
    parser.add_argument("--output", default="bench_out")
    parser.add_argument("--items", type=int, default=LARGE, help="items of the memory's table")
    parser.add_argument("--quick", action="store_true", help="L = 100, few steps, a small table")
    args = parser.parse_args()
    items = ITEMS if args.quick else args.items
    lengths, repeats = (LENGTHS[:1], 3) if args.quick else (LENGTHS, 15)
    limit = psutil.virtual_memory().total >> 20
    conditions = machine.describe(os.cpu_count() or 1, limit)
    here = "benchmarks.training.attributes"
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "command": machine.origin(here)["command"],
        "machine": conditions,
        "rows": [processes.call(f"{here}:compare", (length, repeats), limit) for length in lengths],
        "items": items,
        "memory_mb": processes.call(f"{here}:memory", items, limit),
    }
    reporting.write("attributes", args.output, result, markdown, picture)


if __name__ == "__main__":
    main()
