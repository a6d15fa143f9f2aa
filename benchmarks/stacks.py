"""Speed of both sets of versions side by side on one machine.

Example, as root on a machine of the reference set, when nothing else runs:

    python -m benchmarks.stacks --other "requirements/debian13.sh /var/tmp/imn-debian13" --cold

The sets take turns for some rounds, and the best round of each figure counts: `make run` on the
generated ratings, training examples/s of IMN 3P+ with its recipe, and the median of `rank` with 200
candidates through the embedded server. `--cold` empties the machine's cache of files before a run;
a warm run has the files of the libraries in memory. Both start without an output folder, and
`again` repeats the warm run in its folder.
"""

import argparse
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from benchmarks import reporting

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_CANDIDATES = 200
_LENGTHS = (100, 1_000)
_SMALL = {"IMN_EPOCHS": "1", "IMN_MAX_HISTORY_LENGTH": "20", "IMN_MIN_AUC": "0.3"}
_SMALL |= {"IMN_MIN_GAUC": "0.3", "IMN_REQUIRE_CALIBRATED": "false"}
# Name, unit, and whether more is better.
_FIGURES = (
    ("`make run`, cold", "s", False),
    ("`make run`, warm", "s", False),
    ("`make run`, again", "s", False),
    *((f"training, L = {length:,}", "examples/s", True) for length in _LENGTHS),
    *((f"`rank`, K = 200, L = {length:,}, p50", "ms", False) for length in _LENGTHS),
)

Figures = dict[str, float]


def measure(quick: bool, cold: bool) -> Figures:
    """One round of the set of this process, by the names of `_FIGURES`."""
    lengths = _LENGTHS[:1] if quick else _LENGTHS
    return {**_runs(quick, cold), **_training(lengths, quick), **_serving(lengths, quick)}


def _runs(quick: bool, cold: bool) -> Figures:
    """Seconds of `make run`; the environment is there already."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        if cold:
            os.sync()
            pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")
        runs = [("cold", "first")] if cold else []
        for name, output in (*runs, ("warm", "second"), ("again", "second")):
            settings = {"IMN_OUTPUT": os.path.join(folder, output)} | (_SMALL if quick else {})
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "local_runner.py"],
                cwd=_ROOT,
                env={**os.environ, **settings},
                stdout=sys.stderr,
                check=True,
            )
            found[f"`make run`, {name}"] = time.perf_counter() - start
    return found


def _training(lengths: Sequence[int], quick: bool) -> Figures:
    import psutil

    from benchmarks.training import processes, steps

    found, limit = {}, psutil.virtual_memory().total >> 20
    for length in lengths:
        measurement = steps.Measurement(
            "imn_3p_plus_recipe",
            length,
            seconds=1.0 if quick else 20.0,
            threads=os.cpu_count() or 1,
        )
        timed = processes.call("benchmarks.training.measurements:measure", measurement, limit)
        found[f"training, L = {length:,}"] = steps.BATCH_SIZE / timed["step_seconds"]
    return found


def _serving(lengths: Sequence[int], quick: bool) -> Figures:
    from benchmarks.serving import __main__ as serving

    plan = serving.Plan(
        candidates=(_CANDIDATES,),
        lengths=tuple(lengths),
        items=5_000 if quick else 50_000,
        seconds=1.0 if quick else 10.0,
        target_seconds=1.0 if quick else 10.0,
        target=(_CANDIDATES, lengths[-1]),
        soak_minutes=0,
    )
    with tempfile.TemporaryDirectory() as scratch:
        rows = serving.measure(plan, pathlib.Path(scratch))["rows"]
    return {
        f"`rank`, K = 200, L = {row['history_length']:,}, p50": row["p50_ms"]
        for row in rows
        if (row["method"], row["model"], row["clients"]) == ("rank", serving.IMN, 1)
    }


def best(rounds: Sequence[Figures]) -> Figures:
    """The best value of each figure."""
    found = {}
    for name, _, more_is_better in _FIGURES:
        values = [each[name] for each in rounds if name in each]
        if values:
            found[name] = max(values) if more_is_better else min(values)
    return found


def markdown(result: dict[str, Any]) -> str:
    """The table; the last column is how many times as fast the second set is as the first."""
    sets = result["sets"]
    lines = [reporting.line(["", *(each["name"] for each in sets), "times as fast"])]
    lines.append(reporting.rule(len(sets) + 1))
    for name, unit, more_is_better in _FIGURES:
        values = [each["figures"].get(name) for each in sets]
        if None in values:
            continue
        ratio = ""
        if len(values) == 2:
            first, second = values if more_is_better else values[::-1]
            ratio = f"{second / first:.2f}"
        lines.append(
            reporting.line([f"{name}, {unit}", *(f"{value:,.1f}" for value in values), ratio])
        )
    head = f"{result['date']}, `{result['command']}`, the best of {result['rounds']} rounds; "
    head += f"{result['cores']} cores, load {result['load_at_start']:.1f} at the start."
    return "\n\n".join(["# Both sets of versions", head, "\n".join(lines)]) + "\n"


def picture(result: dict[str, Any], path: str) -> None:
    """Bars of each figure as a share of the first set's."""
    import matplotlib.pyplot as plt

    first = result["sets"][0]["figures"]
    names = [name for name, *_ in _FIGURES if all(name in s["figures"] for s in result["sets"])]
    figure, axes = plt.subplots(figsize=(7, 3))
    width = 0.8 / len(result["sets"])
    for number, each in enumerate(result["sets"]):
        shares = [each["figures"][name] / first[name] for name in names]
        places = [at + number * width for at in range(len(names))]
        axes.barh(places, shares, width, label=each["name"])
    axes.set_yticks(range(len(names)), [name.replace("`", "") for name in names])
    axes.set_xlabel("share of the first set's figure")
    axes.invert_yaxis()
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _one_round(command: Sequence[str], options: Sequence[str]) -> tuple[str, Figures]:
    """A round in a process of its own; the name of its set, and its figures."""
    done = subprocess.run(
        [*command, "-m", "benchmarks.stacks", "--measure", *options],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    # Libraries may print other lines.
    answer = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
    return answer["name"], answer["figures"]


def main() -> None:
    """Runs the benchmark for the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--other", default="", help="what starts a command on the other set")
    parser.add_argument("--cold", action="store_true", help="cold runs too; needs root")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a round of small sizes, L = 100")
    parser.add_argument("--output", default="bench_out", help="folder of the results")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        name = f"TensorFlow {metadata.version('tensorflow')}, Python {platform.python_version()}"
        print(json.dumps({"name": name, "figures": measure(args.quick, args.cold)}))
        return
    options = [f"--{name}" for name in ("quick", "cold") if getattr(args, name)]
    commands = [[sys.executable]]
    if args.other:
        commands.append([*shlex.split(args.other), ".venv/bin/python"])
    load = os.getloadavg()[0]
    rounds = 1 if args.quick else args.rounds
    answers = [[_one_round(each, options) for each in commands] for _ in range(rounds)]
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "command": shlex.join(["python", "-m", "benchmarks.stacks", *sys.argv[1:]]),
        "cores": os.cpu_count(),
        "load_at_start": load,
        "rounds": rounds,
        "sets": [
            {"name": of_set[0][0], "figures": best([figures for _, figures in of_set])}
            for of_set in zip(*answers, strict=True)
        ],
    }
    reporting.write("stacks", args.output, result, markdown, picture)


if __name__ == "__main__":
    main()
