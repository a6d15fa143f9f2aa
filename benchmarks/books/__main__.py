"""The whole pipeline on generated ratings in the shape of Amazon Books, by component and size.

Example: python -m benchmarks.books --ratings 500000 2250000

Each size is a run of its own, with one epoch and a gate that lets everything pass. Before the first
one, a run is killed after ingestion and started again, which must go on from there. With `--folder`
the same command goes on where it was stopped.
"""

import argparse
import math
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from benchmarks import reporting
from benchmarks.books import ratings
from experiments import machine
from pipeline.local.memory import Cost

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_INGESTION = "RatingsExampleGen"
_SETTINGS = {
    "IMN_EPOCHS": "1",
    "IMN_MIN_AUC": "0",
    "IMN_MIN_GAUC": "0",
    "IMN_REQUIRE_CALIBRATED": "false",
}
_SHOWN = 1.0  # seconds of a component that has a row of its own

Costs = dict[str, dict[str, float]]


def start(file: pathlib.Path, output: pathlib.Path) -> subprocess.Popen:
    """Starts a run on a file of ratings; the runner's lines can be read from it."""
    settings = _SETTINGS | {"IMN_RATINGS": str(file), "IMN_OUTPUT": str(output)}
    return subprocess.Popen(
        [sys.executable, "local_runner.py"],
        cwd=_ROOT,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
    )


def lines_until(run: subprocess.Popen, *starts: str) -> str:
    """Shows the lines of a run up to the first with one of these starts, and returns that line."""
    assert run.stdout is not None
    for line in run.stdout:
        print(line, end="", file=sys.stderr, flush=True)
        if line.strip().startswith(tuple(f"{start} " for start in starts)):
            return line.strip()
    wanted = " or ".join(f"`{start}`" for start in starts)
    raise RuntimeError(f"A run must say {wanted}. It ended with status {run.wait()} before.")


def resumed(file: pathlib.Path, output: pathlib.Path) -> str:
    """Kills a run after ingestion and starts it again.

    Args:
      file: of ratings.
      output: of the run; what it holds is removed.

    Returns:
      what the second run says of ingestion; it is killed then, too.
    """
    shutil.rmtree(output, ignore_errors=True)
    for _ in range(2):
        run = start(file, output)
        said = lines_until(run, _INGESTION)
        run.send_signal(signal.SIGKILL)
        run.communicate()
    return " ".join(said.split())


def measure(file: pathlib.Path, output: pathlib.Path) -> Costs:
    """What each component took, by its id and the names of `Cost`.

    Raises:
      RuntimeError: if the run fails.
    """
    run = start(file, output)
    lines_until(run, "Pushed:", "Served already:")  # the latter if it was measured before
    run.communicate()
    from pipeline import connections, pipeline
    from pipeline.configs import Settings
    from pipeline.local import costs

    settings = Settings(output=str(output))
    name = pipeline.pipeline_name(settings)
    read = costs.read(connections.metadata(settings, str(output)), name)
    return {
        component: {key: values[key] for key in Cost._fields}
        for component, values in read.items()
        if values["seconds"] is not None
    }


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The power of the size that a value grows with, between the first and the last size."""
    if len(sizes) < 2 or min(values) <= 0:
        return math.nan
    return math.log(values[-1] / values[0]) / math.log(sizes[-1] / sizes[0])


def total(costs: Costs) -> dict[str, float]:
    """Sums of the times, and the highest memory."""
    columns = {key: [cost[key] for cost in costs.values()] for key in Cost._fields}
    return {key: max(of) if "memory" in key else sum(of) for key, of in columns.items()}


def markdown(result: Mapping[str, Any]) -> str:
    """A table by component: for each size time, processor time and memory; then exponents."""
    sizes = [run["ratings"] for run in result["runs"]]
    runs = [run["costs"] | {"all": total(run["costs"])} for run in result["runs"]]
    names = [name for name in runs[-1] if any(run[name]["seconds"] >= _SHOWN for run in runs)]
    head = ["component"]
    for size in sizes:
        head += [f"{size:,}: s", "processor s", "MB"]
    head += ["exponent: s", "processor s"]
    rows = [reporting.line(head), reporting.rule(len(head) - 1)]
    for name in names:
        cells: list[str] = [name]
        for run in runs:
            cells += [f"{run[name][key]:,.0f}" for key in ("seconds", "processor_seconds")]
            cells.append(f"{run[name]['peak_memory_mb']:,.0f}")
        for key in ("seconds", "processor_seconds"):
            power = exponent(sizes, [run[name][key] for run in runs])
            cells.append("" if math.isnan(power) else f"{power:.2f}")
        rows.append(reporting.line(cells))
    text = (
        f"{result['date']}, `{result['command']}`, {result['machine']}, load "
        f"{result['load_at_start']:.1f} at the start."
    )
    again = f"Killed after ingestion and started again: `{result['resumed']}`."
    return "\n\n".join(["# Amazon Books", text, "\n".join(rows), again]) + "\n"


def picture(result: Mapping[str, Any], path: str) -> None:
    """Processor time by size, a line for each component."""
    import matplotlib.pyplot as plt

    sizes = [run["ratings"] for run in result["runs"]]
    figure, axes = plt.subplots(figsize=(6, 4))
    for name in result["runs"][-1]["costs"]:
        seconds = [run["costs"][name]["processor_seconds"] for run in result["runs"]]
        if max(seconds) >= _SHOWN:
            axes.loglog(sizes, seconds, marker="o", label=name)
    axes.set_xlabel("ratings")
    axes.set_ylabel("processor seconds")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Runs the benchmark for the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.books",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ratings", type=int, nargs="+", default=[2_250_000, 22_500_000])
    parser.add_argument("--output", default="bench_out", help="folder of the results")
    parser.add_argument("--folder", default="", help="of ratings and runs; '' is a temporary one")
    args = parser.parse_args()
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "command": shlex.join(["python", "-m", "benchmarks.books", "--ratings"])
        + "".join(f" {size}" for size in args.ratings),
        "machine": f"{machine.processor()}, {os.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GB",
        "load_at_start": os.getloadavg()[0],
        "runs": [],
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(args.folder or temporary)
        for number, size in enumerate(sorted(args.ratings)):
            file = folder / f"ratings_{size}.csv.gz"
            begun = time.perf_counter()
            ratings.write(file, size)
            written = time.perf_counter() - begun
            if not number:
                result["resumed"] = resumed(file, folder / "killed")
            costs = measure(file, folder / f"run_{size}")
            result["runs"].append({"ratings": size, "written_s": written, "costs": costs})
            # After each size: the next one may take hours.
            reporting.write("books", args.output, result, markdown, picture)


if __name__ == "__main__":
    main()
