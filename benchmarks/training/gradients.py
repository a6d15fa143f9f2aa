"""What the hand-written gradient of DIEN brings, against that of TensorFlow.

Example: python -m benchmarks.training.gradients --output out

The same model with the same weights on the same batches of full histories, with the trainer's step.
The two alternate in one process for the time, and have one process each for the memory. Times are
medians of the processor time of all threads, so that other work on the machine counts little. The
difference of the gradients is the largest of all weights, as a share of the weight's largest
gradient.
"""

import argparse
import contextlib
import os
import statistics
import sys
import time
from typing import Any

import numpy as np
import psutil

from benchmarks import reporting
from benchmarks.training import processes, steps
from experiments import machine

MODELS = ("dien",)
LENGTHS = (100, 1_000)
WAYS = ("by hand", "automatic")
_HERE = "benchmarks.training.gradients"


def compare(argument: tuple[str, int, int]) -> dict[str, Any]:
    """Processor time of a step each way, and the difference of the gradients.

    Args:
      argument: preset, history length, and the number of steps of each way.
    """
    model, length, repeats = argument
    data = _batches(length)
    functions, gradients = {}, {}
    for way in WAYS:
        with _gradients(way):
            functions[way], gradients[way] = _step(model, length, data[0])
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(repeats + 1):
        for way, step in functions.items():
            start = time.process_time()
            step(data[number % len(data)])
            taken[way].append(time.process_time() - start)
    by_hand, automatic = (statistics.median(taken[way][1:]) for way in WAYS)
    pairs = zip(*gradients.values(), strict=True)
    return {
        "model": model,
        "length": length,
        "by_hand_ms": 1_000 * by_hand,
        "automatic_ms": 1_000 * automatic,
        "ratio": automatic / by_hand,
        "difference": max(
            float(np.abs(first - second).max() / max(np.abs(first).max(), 1e-12))
            for first, second in pairs
        ),
    }


def memory(argument: tuple[str, int, str]) -> int:
    """Peak memory in MB of this process after three steps.

    Args:
      argument: preset, history length, and the way.
    """
    model, length, way = argument
    data = _batches(length)
    with _gradients(way):
        step, _ = _step(model, length, data[0], False)
    for batch in data:
        step(batch)
    return steps.peak_memory_mb()


def _gradients(way: str) -> contextlib.AbstractContextManager:
    from benchmarks import plain_recurrences

    return (
        plain_recurrences.automatic_gradients() if way == "automatic" else contextlib.nullcontext()
    )


def _batches(length: int) -> list[dict[str, Any]]:
    from benchmarks.training import measurements

    return [
        measurements.constants(batch)
        for batch in steps.batches(length, steps.BATCH_SIZE, steps.ITEMS)
    ]


def _step(
    model: str, length: int, batch: dict[str, Any], differentiate: bool = True
) -> tuple[Any, list[np.ndarray]]:
    """The trainer's step, traced with one batch; before it, the gradients of all weights."""
    import tensorflow as tf

    from benchmarks.training import measurements
    from experiments.speed import training_step

    tf.keras.utils.set_random_seed(0)
    ranker, recipe = measurements.build(model, length, steps.ITEMS)
    step = training_step(ranker, recipe, batch)

    @tf.function(autograph=False)
    def gradients() -> list[Any]:
        with tf.GradientTape() as tape:
            loss, _ = ranker.loss_and_logits(batch, training=True)
        return [
            tf.convert_to_tensor(gradient)
            for gradient in tape.gradient(loss, ranker.trainable_variables)
        ]

    found = [gradient.numpy() for gradient in gradients()] if differentiate else []
    step(batch)
    return step, found


def markdown(result: dict[str, Any]) -> str:
    """The table."""
    head = ["model", "L", "step by hand, CPU", "automatic, CPU", "times as long"]
    head += ["peak memory by hand", "automatic", "largest difference of a gradient"]
    rows = [
        [
            row["model"].upper(),
            f"{row['length']:,}",
            f"{row['by_hand_ms']:,.0f} ms",
            f"{row['automatic_ms']:,.0f} ms",
            f"{row['ratio']:.2f}",
            f"{row['by_hand_mb']:,} MB",
            f"{row['automatic_mb']:,} MB",
            f"{row['difference']:.1e}",
        ]
        for row in result["rows"]
    ]
    table = [reporting.line(head), reporting.rule(len(head) - 1), *map(reporting.line, rows)]
    title = "# Gradients by hand and automatic ones"
    return "\n\n".join([title, reporting.conditions(result), "\n".join(table)]) + "\n"


def picture(result: dict[str, Any], path: str) -> None:
    """Bars of the step times."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3))
    places = np.arange(len(result["rows"]))
    for shift, key, label in ((-0.2, "by_hand_ms", "by hand"), (0.2, "automatic_ms", "automatic")):
        axes.bar(places + shift, [row[key] for row in result["rows"]], 0.4, label=label)
    labels = [f"{row['model'].upper()}\nL = {row['length']}" for row in result["rows"]]
    axes.set_xticks(places, labels)
    axes.set_ylabel("processor time of a step, ms")
    axes.set_yscale("log")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Runs the benchmark for the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m {_HERE}", description=__doc__)
    parser.add_argument("--output", default="bench_out")
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS), help="L")
    parser.add_argument("--repeats", type=int, default=7, help="steps of each way")
    args = parser.parse_args()
    limit = psutil.virtual_memory().total >> 20
    conditions = machine.describe(os.cpu_count() or 1, limit)
    rows = []
    for model in MODELS:
        for length in args.lengths:
            row = processes.call(f"{_HERE}:compare", (model, length, args.repeats), limit)
            for way in WAYS:
                key = f"{way.replace(' ', '_')}_mb"
                row[key] = processes.call(f"{_HERE}:memory", (model, length, way), limit)
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "command": machine.origin(_HERE)["command"],
        "machine": conditions,
        "rows": rows,
    }
    reporting.write("gradients", args.output, result, markdown, picture)


if __name__ == "__main__":
    main()
