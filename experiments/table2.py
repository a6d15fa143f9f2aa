"""The second table: history lengths by passes of IMN, with and without enhancement.

It has two parts. The first uses samples that do not leak, with the same users and targets at every
length. The second uses the protocol of the reproduction that the published numbers come from:
overlapping windows split at random, uniform negatives, always with enhancement. It leaks: a
look-up without a model, "was the candidate in a training window of this user", shows how much.

Training uses all users. Only users with `--min-events` events or more are scored, because their
histories can be long.

Example: python -m experiments.table2 --ratings ratings.csv.gz --lengths 40 100 500
"""

import argparse
import dataclasses
import json
import pathlib
from typing import Any

from experiments import arguments, compare, machine, runs, search, table2_report
from experiments.sampling import samples
from experiments.training import Run

# The row that the other rows of its length are compared with.
REFERENCE = "3P+"

# Results of a row, one for each seed, by its length and label.
_Results = dict[tuple[int, str], list[dict[str, Any]]]


def main() -> None:
    """Makes the table for the command line."""
    parser = arguments.parser(__doc__, one_length=False)
    parser.add_argument("--lengths", nargs="+", type=arguments.positive, default=[40, 100, 500])
    parser.add_argument("--passes", nargs="+", type=int, default=[0, 3, 10])
    parser.add_argument(
        "--min-events", type=int, default=100, help="users with fewer are not scored"
    )
    parser.add_argument("--seeds", type=arguments.positive, default=3)
    parser.add_argument(
        "--leaking-seeds",
        type=arguments.positive,
        help="of the leaking part; default: --seeds",
    )
    parser.add_argument("--tuned", help="search.json of experiments.search, for settings")
    args = parser.parse_args()
    tuned = search.tuned(args.tuned, "imn_3p_plus")
    shared = _prepare(args)
    runs.share_cores(args.jobs)
    output = pathlib.Path(args.output)
    result: dict[str, Any] = {
        **machine.origin("experiments.table2"),
        "min_events": args.min_events,
        "tuned": bool(args.tuned),
        "samples": [],
        "rows": [],
        "comparisons": [],
        "controls": [],
    }
    all_results: list[dict[str, Any]] = []
    for leaking in (False, True):
        rows: _Results = {}
        for length in sorted(args.lengths):
            group = {"leaking": leaking, "history_length": length}
            data = shared[leaking, length]
            planned = _runs(args, tuned, data, leaking)
            row_runs = [run for row in planned.values() for run in row]
            results = runs.run_all(row_runs, data, str(output / "cells"), args.cache, args.jobs)
            for label in planned:
                seeds = [run for run in results if run["name"].endswith(f" {label}")]
                rows[length, label] = seeds
                settings = {"config": seeds[0]["config"], "recipe": seeds[0]["recipe"]}
                row = {"model": label, **group, **compare.means(seeds), "settings": settings}
                result["rows"].append(row)
            all_results += results
            result["samples"].append({**group, **data.describe()})
            result["controls"].append({**group, **data.controls()})
        result["comparisons"] += [{"leaking": leaking, **each} for each in _comparisons(rows)]
    result |= runs.provenance(all_results)
    (output / "table2.json").write_text(json.dumps(result, indent=1) + "\n")
    (output / "table2.md").write_text(table2_report.markdown(result))
    table2_report.picture(result, str(output / "table2.png"))
    print(table2_report.markdown(result))


def _prepare(args: argparse.Namespace) -> dict[tuple[bool, int], samples.Samples]:
    """Samples by protocol (leaking or not) and length.

    Raises:
      RuntimeError: if the test targets of a protocol differ between lengths.
    """
    fair = arguments.settings(args)
    shared = {}
    for leaking, protocol in (
        (False, fair),
        (True, dataclasses.replace(fair, negatives="uniform")),
    ):
        for length in args.lengths:
            settings = dataclasses.replace(protocol, max_history_length=length)
            shared[leaking, length] = samples.prepare(
                settings, args.cache, args.min_events, leaking
            )
        if len({shared[leaking, length].targets() for length in args.lengths}) != 1:
            raise RuntimeError("Test targets differ between lengths, which cannot be compared.")
    return shared


def _runs(
    args: argparse.Namespace,
    tuned: tuple[str, dict[str, Any]],
    data: samples.Samples,
    leaking: bool,
) -> dict[str, list[Run]]:
    """The runs of each row of one length, one for each seed."""
    options, recipe = tuned
    recipe = recipe | data.settings.recipe()
    seeds = args.leaking_seeds if leaking and args.leaking_seeds else args.seeds
    length = data.settings.max_history_length
    rows = {}
    for passes in args.passes:
        for enhancement in (True,) if leaking else (False, True):
            label = f"{passes}P{'+' * enhancement}"
            name = f"{'leaking' if leaking else 'fair'} L = {length} {label}"
            changes = f"passes={passes},enhancement={str(enhancement).lower()}"
            rows[label] = [
                Run(name, "imn_3p_plus", search.joined(options, changes), recipe, seed)
                for seed in range(seeds)
            ]
    return rows


def _comparisons(rows: _Results) -> list[dict[str, Any]]:
    """Each row minus 3P+ of its length, and minus the same row at the next shorter length."""
    comparisons = []
    lengths = sorted({length for length, _ in rows})
    shorter = dict(zip(lengths[1:], lengths, strict=False))
    for (length, label), seeds in rows.items():
        for other in ((length, REFERENCE), (shorter.get(length), label)):
            if other in rows and other != (length, label):
                comparisons.append(
                    {
                        "model": label,
                        "history_length": length,
                        "against": other[1],
                        "against_length": other[0],
                        **compare.difference(seeds, rows[other]),
                    }
                )
    return comparisons


if __name__ == "__main__":
    arguments.run(main)
