"""The second table: lengths of the history by passes of IMN, with and without enhancement.

Twice: on samples that do not leak, the same users and targets at every length;
and by the protocol of the reproduction that the published numbers come from
(overlapping windows split at random, uniform negatives; with enhancement, as there),
beside the look-up that needs no model, "was the candidate in a training window of this user".
All users are trained on; those whose histories can be long are scored.

Example: python -m benchmarks.table2 --ratings ratings.csv.gz --lengths 40 100 500
"""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import arguments, cells, machine, samples, search, summary, table2_report
from pipeline.configs import Settings

# The row that the others of its length are set beside.
REFERENCE = "3P+"

# Cells of a row, by its length and name.
_Done = Mapping[tuple[int, str], Sequence[dict[str, Any]]]


def main() -> None:
    """Makes the table for the command line."""
    parser = arguments.parser(__doc__)
    parser.add_argument("--lengths", nargs="+", type=int, default=[40, 100, 500])
    parser.add_argument("--passes", nargs="+", type=int, default=[0, 3, 10])
    parser.add_argument("--min-events", type=int, default=100, help="who has fewer is not scored")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--leaking-seeds", type=int, help="of what leaks; as --seeds by default")
    parser.add_argument("--tuned", help="search.json of benchmarks.search, for settings")
    parser.add_argument("--epochs", type=int, help="at most; as the recipe by default")
    given = parser.parse_args()
    settings = arguments.settings(given)
    cells.share_cores(given.jobs)
    output = pathlib.Path(given.output)
    result: dict[str, Any] = {
        **machine.origin("benchmarks.table2"),
        "min_events": given.min_events,
        "tuned": bool(given.tuned),
        **{"rows": [], "comparisons": [], "controls": []},
    }
    targets = set()
    for leaking in (False, True):
        done: dict[tuple[int, str], Sequence[dict[str, Any]]] = {}
        for length in sorted(given.lengths):
            shared = _prepare(given, settings, length, leaking)
            asked = _cells(given, leaking)
            found = cells.run(asked, shared, str(output / "cells"), given.cache, given.jobs)
            for cell in found:
                name = cell["name"].rsplit(" ", 1)[1]
                done[length, name] = [*done.get((length, name), []), cell]
            place = {"leaking": leaking, "history_length": length}
            result["controls"].append({**place, **shared.controls()})
            if not leaking:
                result["samples"] = shared.describe()
                targets.add(_targets(shared))
        result["rows"] += [
            {"model": name, "leaking": leaking, "history_length": length, **summary.means(own)}
            for (length, name), own in done.items()
        ]
        result["comparisons"] += [{"leaking": leaking, **each} for each in _comparisons(done)]
    if len(targets) != 1:
        raise RuntimeError("The lengths have different test targets; they cannot be compared.")
    (output / "table2.json").write_text(json.dumps(result, indent=1) + "\n")
    (output / "table2.md").write_text(table2_report.markdown(result))
    table2_report.picture(result, str(output / "table2.png"))
    print(table2_report.markdown(result))


def _prepare(
    given: argparse.Namespace, settings: Settings, length: int, leaking: bool
) -> samples.Samples:
    at_length = dataclasses.replace(settings, max_history_length=length)
    if leaking:
        at_length = dataclasses.replace(at_length, negatives="uniform")
    return samples.prepare(at_length, given.cache, given.min_events, leaking)


def _targets(shared: samples.Samples) -> bytes:
    """What the test rows ask for, whatever their order."""
    test = shared.test()
    return np.sort(test["user"] ^ test["target_time"]).tobytes()


def _cells(given: argparse.Namespace, leaking: bool) -> list[cells.Cell]:
    options, recipe = search.tuned(given.tuned, "imn_3p_plus")
    recipe = recipe | ({"epochs": given.epochs} if given.epochs else {})
    seeds = given.leaking_seeds if leaking and given.leaking_seeds else given.seeds
    made = []
    for seed in range(seeds):
        for passes in given.passes:
            for enhancement in (True,) if leaking else (False, True):
                own = f"passes={passes},enhancement={str(enhancement).lower()}"
                name = f"{'leaking' if leaking else 'fair'} {passes}P{'+' * enhancement}"
                joined = search.joined(options, own)
                made.append(cells.Cell(name, "imn_3p_plus", joined, recipe, seed))
    return made


def _comparisons(done: _Done) -> list[dict[str, Any]]:
    """Each row less 3P+ of its length, and less itself at the shortest length."""
    made = []
    shortest = min(length for length, _ in done)
    for (length, name), own in done.items():
        for other in ((length, REFERENCE), (shortest, name)):
            if other in done and other != (length, name):
                made.append(
                    {
                        **{"model": name, "history_length": length},
                        **{"against": other[1], "against_length": other[0]},
                        **summary.difference(own, done[other]),
                    }
                )
    return made


if __name__ == "__main__":
    arguments.run(main)
