"""The first table: every system on the same samples, over several seeds.

For each row mean and standard deviation over seeds of AUC, GAUC and log loss on
test, the distance to YouTube DNN in points, and how fast it trains; the controls;
and for "IMN 3P+ against each" the 95 % interval of a bootstrap over users; the same for
`imn_states`, which goes beyond the paper, where `--models` has it. Early
stopping looks at eval; test is scored once a cell.

How samples are made is said by `IMN_<FIELD>`, as everywhere; a field of the recipe, such as
IMN_EXTRA_CANDIDATES=0, goes for all systems and over what was tuned. A run that is
stopped goes on from its finished cells, and from the checkpoints of the others.

Example: python -m experiments.table1 --ratings ratings.csv.gz --seeds 3 --output out
"""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import arguments, compare, machine, report, runs, samples, search
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
BEYOND = "imn_states"  # not of the paper, and only where it is asked for


def main() -> None:
    """Makes the table for the command line."""
    parser = arguments.parser(__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(presets.PRESETS))
    parser.add_argument(
        "--seeds", type=arguments.positive, default=3, help="trainings of each system"
    )
    parser.add_argument("--tuned", help="search.json of experiments.search, for settings")
    given = parser.parse_args()
    settings = arguments.settings(given)
    runs.share_cores(given.jobs)
    asked = []
    for seed in range(given.seeds):
        for model in given.models:
            options, recipe = search.tuned(given.tuned, model)
            asked.append(runs.Run(model, model, options, recipe | settings.recipe(), seed))
    shared = samples.prepare(settings, given.cache)
    output = pathlib.Path(given.output)
    done = runs.run(asked, shared, str(output / "cells"), given.cache, given.jobs)
    result = {
        **machine.origin("experiments.table1"),
        "samples": shared.describe(),
        "seeds": given.seeds,
        "tuned": bool(given.tuned),
        "rows": rows(done, _kept_speed([cell for cell in asked if cell.seed == 0], shared, output)),
        "comparisons": comparisons(done),
        "controls": controls(done, shared),
        **runs.provenance(done),
    }
    (output / "table1.json").write_text(json.dumps(result, indent=1) + "\n")
    (output / "table1.md").write_text(report.table1(result))
    report.picture(result, str(output / "table1.png"))
    print(report.table1(result))


def rows(done: Sequence[dict[str, Any]], examples_per_s: dict[str, float]) -> list[dict[str, Any]]:
    """A row a system, the best AUC first."""
    made = []
    names = list(dict.fromkeys(cell["name"] for cell in done))
    reference = [cell["auc"] for cell in done if cell["name"] == REFERENCE]
    for name in names:
        own = [cell for cell in done if cell["name"] == name]
        row: dict[str, Any] = {"model": name, **compare.means(own)}
        row["improvement_points"] = (
            100 * (row["auc_mean"] - float(np.mean(reference))) if reference else None
        )
        row["eval_auc_mean"] = float(np.mean([cell["eval_auc"] for cell in own]))
        row["best_epoch_mean"] = float(np.mean([cell["epoch"] for cell in own]))
        row["examples_per_s"] = examples_per_s.get(name)
        row["settings"] = {"config": own[0]["config"], "recipe": own[0]["recipe"]}
        made.append(row)
    return sorted(made, key=lambda row: -row["auc_mean"])


def comparisons(done: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """IMN 3P+ less each other system, and what goes beyond the paper less each of the paper's."""
    of: dict[str, list[dict[str, Any]]] = {}
    for cell in done:
        of.setdefault(cell["name"], []).append(cell)
    return [
        {"model": ours, "against": other, **compare.difference(of[ours], theirs)}
        for ours in (OURS, BEYOND)
        for other, theirs in of.items()
        if ours in of and other not in (ours, BEYOND)
    ]


def controls(done: Sequence[dict[str, Any]], shared: samples.Samples) -> dict[str, Any]:
    """AUC and GAUC of what knows no history, and each system given another user's."""
    found = shared.controls()
    for cell in done:
        exchanged = found.setdefault("other_users_history", {})
        exchanged.setdefault(cell["name"], []).append(cell["other_users_history"])
    found["other_users_history"] = {
        name: float(np.mean(values)) for name, values in found["other_users_history"].items()
    }
    return found


def _kept_speed(
    asked: Sequence[runs.Run], shared: samples.Samples, output: pathlib.Path
) -> dict[str, float]:
    """The speeds that were measured for these very cells, or else new ones."""
    path = output / "table1_speed.json"
    key = {cell.name: cell.key(shared) for cell in asked} | {"code": runs.code()}
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["key"] == key:
            return kept["examples_per_s"]
    from experiments import speed  # TensorFlow comes with it, and reads its threads then

    measured = speed.examples_per_second(asked, shared)
    path.write_text(json.dumps({"key": key, "examples_per_s": measured}))
    return measured


if __name__ == "__main__":
    arguments.run(main)
