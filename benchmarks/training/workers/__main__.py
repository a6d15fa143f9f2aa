"""Examples/s of a training on one worker and on two, each on a core of its own.

The training is the trainer's own: samples from files, the whole recipe, summaries. Rows take turns
in each round, and the fastest round of a row counts, because others use the machine. Example:

    python -m benchmarks.training.workers --rounds 3
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from benchmarks import reporting
from benchmarks.training.workers.measurement import STEPS, write_samples
from experiments import arguments, machine
from model.training import cluster

_POLL_SECONDS = 0.1


class Row(NamedTuple):
    """A way to train: its name, the cores of each worker, and whether it uses tf.distribute."""

    name: str
    cores: tuple[tuple[int, ...], ...]
    distribute: bool


def rows(one: int, other: int) -> tuple[Row, ...]:
    """The rows of the table, on two cores."""
    return (
        Row("no tf.distribute, 1 core", ((one,),), False),
        Row("1 worker, 1 core", ((one,),), True),
        Row("2 workers, 1 core each", ((one,), (other,)), True),
        Row("no tf.distribute, 2 cores", ((one, other),), False),
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
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit(f"Two cores are needed. This process may use {len(cores)}.")
    table = rows(*cores[:2])
    speeds: dict[str, list[float]] = {row.name: [] for row in table}
    with tempfile.TemporaryDirectory() as folder:
        samples = pathlib.Path(folder)
        write_samples(samples, options.length, options.batch_size)
        for _ in range(options.rounds):
            for row in table:
                speeds[row.name].append(statistics.median(_measure(row, samples, options)))
    origin = machine.origin("benchmarks.training.workers")
    print(f"{origin['date']}, `{origin['command']}`. {origin['machine']}; load {load:.1f}.\n")
    print(_table(speeds))


def _measure(row: Row, samples: pathlib.Path, options: argparse.Namespace) -> list[float]:
    configs = cluster.on_this_machine(len(row.cores)) if row.distribute else [""]
    environ = {name: text for name, text in os.environ.items() if name != cluster.VARIABLE}
    with tempfile.TemporaryDirectory() as output, contextlib.ExitStack() as stack:
        workers, logs = [], []
        for number, (cores, config) in enumerate(zip(row.cores, configs, strict=True)):
            logs.append(pathlib.Path(output, f"log-{number}"))
            worker = subprocess.Popen(
                [
                    *(sys.executable, "-m", "benchmarks.training.workers.measurement", samples),
                    *("--model", options.model, "--length", str(options.length)),
                    *("--batch-size", str(options.batch_size), "--output", output),
                    *("--cores", *map(str, cores)),
                ],
                env=environ | ({cluster.VARIABLE: config} if config else {}),
                stdout=subprocess.PIPE,
                stderr=stack.enter_context(logs[-1].open("w")),
                text=True,
            )
            stack.callback(worker.kill)
            workers.append(worker)
        # The first that fails ends the measurement: the others would wait for it.
        while any(worker.poll() is None for worker in workers):
            if any(worker.poll() for worker in workers):
                break
            time.sleep(_POLL_SECONDS)
        for worker, log in zip(workers, logs, strict=True):
            if worker.poll():
                sys.exit(f"A measurement of {row.name!r} failed:\n{log.read_text()[-2000:]}")
        return json.loads(workers[0].communicate()[0].splitlines()[-1])


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
