"""Examples/s of a training on one worker and on two, each on a core of its own.

The training is the trainer's own: samples from files, the whole recipe, summaries. Rows take turns
in each round, and the fastest round of a row counts, because others use the machine. Example:

    python -m benchmarks.training.workers --rounds 3
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import NamedTuple

from benchmarks import reporting
from benchmarks.training.workers.measurement import STEPS, write_samples
from experiments import arguments, machine
from model.training import cluster


class Row(NamedTuple):
    """A way to train: its name, the cores of each worker, and whether it uses tf.distribute."""

    name: str
    cores: tuple[tuple[int, ...], ...]
    distribute: bool


ROWS = (
    Row("no tf.distribute, 1 core", ((0,),), False),
    Row("1 worker, 1 core", ((0,),), True),
    Row("2 workers, 1 core each", ((0,), (1,)), True),
    Row("no tf.distribute, 2 cores", ((0, 1),), False),
)


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="imn_3p_plus")
    parser.add_argument("--length", type=int, default=100, help="events of each history")
    parser.add_argument("--batch-size", type=int, default=512, help="of all workers together")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    speeds: dict[str, list[float]] = {row.name: [] for row in ROWS}
    with tempfile.TemporaryDirectory() as folder:
        samples = pathlib.Path(folder)
        write_samples(samples, options.length, options.batch_size)
        for _ in range(options.rounds):
            for row in ROWS:
                speeds[row.name].append(statistics.median(_measure(row, samples, options)))
    origin = machine.origin("benchmarks.training.workers")
    print(f"{origin['date']}, `{origin['command']}`. {origin['machine']}; load {load:.1f}.\n")
    print(_table(speeds))


def _measure(row: Row, samples: pathlib.Path, options: argparse.Namespace) -> list[float]:
    configs = cluster.on_this_machine(len(row.cores)) if row.distribute else [""]
    environ = {name: text for name, text in os.environ.items() if name != cluster.VARIABLE}
    with tempfile.TemporaryDirectory() as output:
        workers = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "benchmarks.training.workers.measurement", samples),
                    *("--model", options.model, "--length", str(options.length)),
                    *("--batch-size", str(options.batch_size), "--output", output),
                    *("--cores", *map(str, cores)),
                ],
                env=environ | ({cluster.VARIABLE: config} if config else {}),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for cores, config in zip(row.cores, configs, strict=True)
        ]
        answers = [worker.communicate()[0] for worker in workers]
    if any(worker.returncode for worker in workers):
        sys.exit(f"A measurement of {row.name!r} failed.")
    return json.loads(answers[0].splitlines()[-1])


def _table(speeds: dict[str, list[float]]) -> str:
    """Markdown: examples/s, the range of the rounds, and the ratio to one worker."""
    one = max(speeds["1 worker, 1 core"])
    lines = [
        reporting.line([f"training, {STEPS} steps", "examples/s", "rounds", "to 1 worker"]),
        reporting.rule(3),
    ]
    for name, rounds in speeds.items():
        best = max(rounds)
        spread = f"{min(rounds):,.0f} to {max(rounds):,.0f}"
        lines.append(reporting.line([name, f"{best:,.0f}", spread, f"{best / one:.2f}"]))
    return "\n".join(lines)


if __name__ == "__main__":
    arguments.run(main)
