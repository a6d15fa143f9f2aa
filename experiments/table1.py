"""The first table: all models on the same samples, over several seeds.

Each row has the mean and standard deviation over seeds of AUC, GAUC and log loss on test, the
difference from YouTube DNN in points, and the training speed. Below are IMN 3P+ minus each other
model, with the 95 % interval of a bootstrap over users, and the controls. With `imn_states` in
`--models`, the same comparison follows for it; it is not in the paper. Early stopping uses eval;
each run scores test once.

`IMN_<FIELD>` sets how samples are made, as everywhere. Fields of the training config, such as
IMN_EXTRA_CANDIDATES=0, apply to all models and override tuned values. An interrupted command
reuses finished runs and resumes the others from their checkpoints.

Example: python -m experiments.table1 --ratings ratings.csv.gz --seeds 3 --output out
"""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import arguments, compare, machine, report, runs, search, training
from experiments.sampling import samples
from experiments.training import Run
from model import presets

MODELS = (
    "youtube_dnn",
    "din",
    "dien",
    "sasrec",
    "mimn",
    "ubr4ctr",
    "imn_2p",
    "imn_3p",
    "imn_3p_plus",
)
REFERENCE = "youtube_dnn"
OURS = "imn_3p_plus"
BEYOND = "imn_states"  # not in the paper, and not in the table by default


def main() -> None:
    """Makes the table for the command line."""
    parser = arguments.parser(__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(presets.PRESETS))
    parser.add_argument(
        "--seeds", type=arguments.positive, default=3, help="trainings of each model"
    )
    parser.add_argument("--tuned", help="search.json of experiments.search, for settings")
    args = parser.parse_args()
    settings = arguments.settings(args)
    runs.share_cores(args.jobs)
    planned = []
    for seed in range(args.seeds):
        for model in args.models:
            options, recipe = search.tuned(args.tuned, model)
            planned.append(Run(model, model, options, recipe | settings.recipe(), seed))
    shared = samples.prepare(settings, args.cache)
    output = pathlib.Path(args.output)
    results = runs.run_all(planned, shared, str(output / "cells"), args.cache, args.jobs)
    examples_per_s = _speed([run for run in planned if run.seed == 0], shared, output)
    result = {
        **machine.origin("experiments.table1"),
        "samples": shared.describe(),
        "seeds": args.seeds,
        "tuned": bool(args.tuned),
        "rows": rows(results, examples_per_s),
        "comparisons": comparisons(results),
        "controls": controls(results, shared),
        **runs.provenance(results),
    }
    (output / "table1.json").write_text(json.dumps(result, indent=1) + "\n")
    (output / "table1.md").write_text(report.table1(result))
    report.picture(result, str(output / "table1.png"))
    print(report.table1(result))


def rows(
    results: Sequence[dict[str, Any]], examples_per_s: dict[str, float]
) -> list[dict[str, Any]]:
    """A row for each model, the best AUC first."""
    by_name = _by_name(results)
    reference = [run["auc"] for run in by_name.get(REFERENCE, [])]
    table = []
    for name, seeds in by_name.items():
        row: dict[str, Any] = {"model": name, **compare.means(seeds)}
        row["improvement_points"] = (
            100 * (row["auc_mean"] - float(np.mean(reference))) if reference else None
        )
        row["eval_auc_mean"] = float(np.mean([run["eval_auc"] for run in seeds]))
        row["best_epoch_mean"] = float(np.mean([run["epoch"] for run in seeds]))
        row["examples_per_s"] = examples_per_s.get(name)
        row["settings"] = {"config": seeds[0]["config"], "recipe": seeds[0]["recipe"]}
        table.append(row)
    return sorted(table, key=lambda row: -row["auc_mean"])


def comparisons(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """IMN 3P+ minus each other model of the paper, then `BEYOND` minus each model of the paper."""
    by_name = _by_name(results)
    return [
        {"model": ours, "against": other, **compare.difference(by_name[ours], seeds)}
        for ours in (OURS, BEYOND)
        for other, seeds in by_name.items()
        if ours in by_name and other not in (ours, BEYOND)
    ]


def controls(results: Sequence[dict[str, Any]], shared: samples.Samples) -> dict[str, Any]:
    """AUC and GAUC of the controls without a model; AUC of each model on others' histories."""
    exchanged = {
        name: float(np.mean([run["other_users_history"] for run in seeds]))
        for name, seeds in _by_name(results).items()
    }
    return shared.controls() | {"other_users_history": exchanged}


def _by_name(results: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The results of each row, one for each seed, in the order of the rows."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for run in results:
        by_name.setdefault(run["name"], []).append(run)
    return by_name


def _speed(
    planned: Sequence[Run], shared: samples.Samples, output: pathlib.Path
) -> dict[str, float]:
    """Training examples per second of each run; cached while runs and code are the same."""
    path = output / "table1_speed.json"
    key = {run.name: run.key(shared) for run in planned} | {"code": training.code()}
    if path.exists():
        cached = json.loads(path.read_text())
        if cached["key"] == key:
            return cached["examples_per_s"]
    # Imports TensorFlow, which must start after `share_cores`.
    from experiments import speed

    measured = speed.examples_per_second(planned, shared)
    path.write_text(json.dumps({"key": key, "examples_per_s": measured}))
    return measured


if __name__ == "__main__":
    arguments.run(main)
