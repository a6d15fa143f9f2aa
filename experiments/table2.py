"""The second table: lengths of the history by passes of IMN, with and without enhancement.

Twice: on samples that do not leak, the same users and targets at every length;
and by the protocol of the reproduction that the published numbers come from
(overlapping windows split at random, uniform negatives; with enhancement, as there),
beside the look-up that needs no model, "was the candidate in a training window of this user".
All users are trained on; those whose histories can be long are scored.

Example: python -m experiments.table2 --ratings ratings.csv.gz --lengths 40 100 500
"""

import argparse
import dataclasses
import json
import pathlib
from typing import Any

from experiments import arguments, compare, machine, runs, samples, search, table2_report

# The row that the others of its length are set beside.
REFERENCE = "3P+"

# Cells of a row, by its length and name.
_Done = dict[tuple[int, str], list[dict[str, Any]]]


def main() -> None:
    """Makes the table for the command line."""
    parser = arguments.parser(__doc__, one_length=False)
    parser.add_argument("--lengths", nargs="+", type=arguments.positive, default=[40, 100, 500])
    parser.add_argument("--passes", nargs="+", type=int, default=[0, 3, 10])
    parser.add_argument("--min-events", type=int, default=100, help="who has fewer is not scored")
    parser.add_argument("--seeds", type=arguments.positive, default=3)
    parser.add_argument(
        "--leaking-seeds", type=arguments.positive, help="of what leaks; as --seeds by default"
    )
    parser.add_argument("--tuned", help="search.json of experiments.search, for settings")
    given = parser.parse_args()
    tuned = search.tuned(given.tuned, "imn_3p_plus")
    shared = _prepare(given)
    runs.share_cores(given.jobs)
    output = pathlib.Path(given.output)
    result: dict[str, Any] = {
        **machine.origin("experiments.table2"),
        "min_events": given.min_events,
        "tuned": bool(given.tuned),
        "samples": [],
        "rows": [],
        "comparisons": [],
        "controls": [],
    }
    every: list[dict[str, Any]] = []
    for leaking in (False, True):
        rows: _Done = {}
        for length in sorted(given.lengths):
            place = {"leaking": leaking, "history_length": length}
            of = shared[leaking, length]
            asked = _cells(given, tuned, of, leaking)
            waiting = [cell for row in asked.values() for cell in row]
            done = runs.run(waiting, of, str(output / "cells"), given.cache, given.jobs)
            for label in asked:
                own = [cell for cell in done if cell["name"].endswith(f" {label}")]
                rows[length, label] = own
                settings = {"config": own[0]["config"], "recipe": own[0]["recipe"]}
                row = {"model": label, **place, **compare.means(own), "settings": settings}
                result["rows"].append(row)
            every += done
            result["samples"].append({**place, **of.describe()})
            result["controls"].append({**place, **of.controls()})
        result["comparisons"] += [{"leaking": leaking, **each} for each in _comparisons(rows)]
    result |= runs.provenance(every)
    (output / "table2.json").write_text(json.dumps(result, indent=1) + "\n")
    (output / "table2.md").write_text(table2_report.markdown(result))
    table2_report.picture(result, str(output / "table2.png"))
    print(table2_report.markdown(result))


def _prepare(given: argparse.Namespace) -> dict[tuple[bool, int], samples.Samples]:
    """Samples by protocol and length; within a protocol they ask for the same targets."""
    fair = arguments.settings(given)
    shared = {}
    for leaking, protocol in (
        (False, fair),
        (True, dataclasses.replace(fair, negatives="uniform")),
    ):
        for length in given.lengths:
            settings = dataclasses.replace(protocol, max_history_length=length)
            shared[leaking, length] = samples.prepare(
                settings, given.cache, given.min_events, leaking
            )
        if len({shared[leaking, length].targets() for length in given.lengths}) != 1:
            raise RuntimeError("Test targets differ between lengths, which cannot be compared.")
    return shared


def _cells(
    given: argparse.Namespace,
    tuned: tuple[str, dict[str, Any]],
    shared: samples.Samples,
    leaking: bool,
) -> dict[str, list[runs.Run]]:
    """For each row its cells, a seed each."""
    options, recipe = tuned
    recipe = recipe | shared.settings.recipe()
    seeds = given.leaking_seeds if leaking and given.leaking_seeds else given.seeds
    length = shared.settings.max_history_length
    made = {}
    for passes in given.passes:
        for enhancement in (True,) if leaking else (False, True):
            label = f"{passes}P{'+' * enhancement}"
            name = f"{'leaking' if leaking else 'fair'} L = {length} {label}"
            own = f"passes={passes},enhancement={str(enhancement).lower()}"
            made[label] = [
                runs.Run(name, "imn_3p_plus", search.joined(options, own), recipe, seed)
                for seed in range(seeds)
            ]
    return made


def _comparisons(rows: _Done) -> list[dict[str, Any]]:
    """Each row less 3P+ of its length, and less itself at the next shorter length."""
    made = []
    lengths = sorted({length for length, _ in rows})
    shorter = dict(zip(lengths[1:], lengths, strict=False))
    for (length, label), own in rows.items():
        for other in ((length, REFERENCE), (shorter.get(length), label)):
            if other in rows and other != (length, label):
                made.append(
                    {
                        "model": label,
                        "history_length": length,
                        "against": other[1],
                        "against_length": other[0],
                        **compare.difference(own, rows[other]),
                    }
                )
    return made


if __name__ == "__main__":
    arguments.run(main)
