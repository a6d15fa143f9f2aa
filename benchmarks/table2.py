"""The second table: lengths of the history by passes of IMN, with and without enhancement.

Twice: on samples that do not leak, the same users and targets at every length;
and by the protocol of the reproduction that the published numbers come from
(overlapping windows split at random, uniform negatives), beside the look-up
that needs no model, "was the candidate in a training window of this user".

Example: python -m benchmarks.table2 --ratings ratings.csv.gz --lengths 40 100 500
"""

import argparse
import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from benchmarks import arguments, cells, machine, report, samples, search
from pipeline import controls
from pipeline.errors import InputError


def main() -> None:
    """Makes the table for the command line."""
    parser = arguments.parser(__doc__)
    parser.add_argument("--lengths", nargs="+", type=int, default=[40, 100, 500])
    parser.add_argument("--passes", nargs="+", type=int, default=[0, 3, 10])
    parser.add_argument("--min-events", type=int, default=100, help="users with fewer are left out")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tuned", help="search.json of benchmarks.search, for settings")
    parser.add_argument("--epochs", type=int, help="at most; as the recipe by default")
    given = parser.parse_args()
    settings = arguments.settings(given)
    cells.share_cores(given.jobs)
    output = pathlib.Path(given.output)
    origin = machine.origin("benchmarks.table2")
    result: dict[str, Any] = {**origin, "seeds": given.seeds, "rows": []}
    targets = set()
    for leaking in (False, True):
        of = dataclasses.replace(settings, negatives="uniform") if leaking else settings
        for length in given.lengths:
            at_length = dataclasses.replace(of, max_history_length=length)
            shared = samples.prepare(
                at_length, given.cache, min_events=given.min_events, leaking=leaking
            )
            if not leaking:
                test = shared.test()
                targets.add(tuple(np.sort(test["user"] ^ test["target_time"]).tolist()))
            asked = _cells(given, leaking, length)
            done = cells.run(asked, shared, str(output / "cells"), given.cache, given.jobs)
            look_up = controls.controls(shared.raw("train"), shared.raw("test"))["controls"]
            result["samples"] = shared.describe()
            result["rows"] += _rows(done, leaking, length, look_up["own_training_windows"]["auc"])
    if len(targets) != 1:
        raise InputError("The lengths have different test targets; they cannot be compared.")
    (output / "table2.json").write_text(json.dumps(result, indent=1) + "\n")
    (output / "table2.md").write_text(report.table2(result))
    report.picture2(result, str(output / "table2.png"))
    print(report.table2(result))


def _cells(given: argparse.Namespace, leaking: bool, length: int) -> list[cells.Cell]:
    options, recipe = search.tuned(given.tuned, "imn_3p_plus")
    recipe = recipe | ({"epochs": given.epochs} if given.epochs else {})
    made = []
    for seed in range(given.seeds):
        for passes in given.passes:
            for enhancement in (False, True):
                own = f"passes={passes},enhancement={str(enhancement).lower()}"
                protocol = "leaking" if leaking else "fair"
                made.append(
                    cells.Cell(
                        f"{protocol}-L{length}-{passes}P{'+' * enhancement}",
                        "imn_3p_plus",
                        search.joined(options, own),
                        recipe,
                        seed,
                    )
                )
    return made


def _rows(
    done: list[dict[str, Any]], leaking: bool, length: int, look_up: float
) -> list[dict[str, Any]]:
    made = []
    for name in dict.fromkeys(cell["name"] for cell in done):
        own = [cell for cell in done if cell["name"] == name]
        row: dict[str, Any] = {
            "model": name.rsplit("-", 1)[1],
            "history_length": length,
            "leaking": leaking,
            "look_up_auc": look_up,
            "seeds": len(own),
        }
        for metric, label in (("auc", "auc"), ("gauc", "gauc"), ("log_loss", "logloss")):
            values = [cell[metric] for cell in own]
            row[f"{label}_mean"] = float(np.mean(values))
            row[f"{label}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        made.append(row)
    return made


if __name__ == "__main__":
    main()
