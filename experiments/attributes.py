"""What attributes are worth: models with ids, with both, with attributes alone, and shuffled.

A table with a row for each model and each way to know an item: AUC and GAUC on test, and the AUC by
how often training saw the target. `shuffled` trains with the attributes of other items, so it
must fall back to what ids alone give. The samples are the same but for the ids of new items.

Example: python -m experiments.attributes --ratings ratings.csv.gz --items items.jsonl.gz
"""

import dataclasses
import json
import pathlib
import random
from typing import Any

import numpy as np

from experiments import arguments, compare, machine, report, runs, search
from experiments.sampling import samples
from experiments.training import TARGET_EVENTS, Run
from model.presets import PRESETS, label
from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.items import fields, source

MODELS = ("youtube_dnn", "din", "ubr4ctr", "imn_3p_plus")
WAYS = ("ids", "ids and attributes", "attributes", "shuffled")
_IN_SLICES = ("auc", "gauc")


def main() -> None:
    """Makes the table for the command line."""
    parser = arguments.parser(__doc__)
    parser.add_argument("--items", required=True, help="file or glob of the catalogue")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(PRESETS))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--seeds", type=arguments.positive, default=1)
    parser.add_argument("--tuned", help="search.json of experiments.search, for settings")
    args = parser.parse_args()
    settings = arguments.settings(args)
    runs.share_cores(args.jobs)
    output = pathlib.Path(args.output)
    rows, results, similar = [], [], {}
    for way in args.ways:
        shared = samples.prepare(of_way(settings, way, args.items, output), args.cache)
        planned = [
            Run(model, model, options, recipe | settings.recipe(), seed)
            for model in args.models
            for options, recipe in [search.tuned(args.tuned, model)]
            for seed in range(args.seeds)
        ]
        done = runs.run_all(planned, shared, str(output / "cells"), args.cache, args.jobs)
        results += done
        if way == "ids and attributes":
            similar = similarity(shared)
        for model in args.models:
            of_model = [result for result in done if result["name"] == model]
            row = {"model": model, "way": way, **compare.means(of_model)}
            row["by_target_events"] = {
                name: {
                    "rows": slices[0]["rows"],
                    **{key: float(np.mean([each[key] for each in slices])) for key in _IN_SLICES},
                }
                for name, *_ in TARGET_EVENTS
                for slices in [[each["by_target_events"][name] for each in of_model]]
            }
            row["eval_auc_mean"] = float(np.mean([each["eval_auc"] for each in of_model]))
            rows.append(row)
    result = {
        **machine.origin("experiments.attributes"),
        "samples": shared.describe(),
        "seeds": args.seeds,
        "rows": rows,
        "similarity": similar,
        **runs.provenance(results),
    }
    (output / "attributes.json").write_text(json.dumps(result, indent=1) + "\n")
    (output / "attributes.md").write_text(markdown(result))
    print(markdown(result))


def of_way(settings: Settings, way: str, items: str, output: pathlib.Path) -> Settings:
    """The settings of one way to know an item."""
    if way == "ids":
        return settings
    if way == "shuffled":
        shuffled = str(output / "shuffled_items.jsonl")
        write_shuffled(items, shuffled)
        items = shuffled
    return dataclasses.replace(settings, items=items, use_ids=way != "attributes")


def write_shuffled(items: str, path: str) -> None:
    """Writes a catalogue as JSON lines, with the attributes exchanged between items at random."""
    parts = source.plan(items)[0]
    rows = [row for part in parts for _, row in source.read(part) if isinstance(row, dict)]
    column = fields.item_column(items, list(rows[0]))
    ids = [row[column] for row in rows]
    random.Random(0).shuffle(ids)
    with open(path, "w", encoding="utf-8") as file:
        for row, item in zip(rows, ids, strict=True):
            file.write(json.dumps(row | {column: item}) + "\n")


def similarity(shared: samples.Samples) -> dict[str, float]:
    """Test AUC and GAUC of the similarity of attributes, without any training."""
    from pipeline.evaluation import attribute_controls, controls, ranking_metrics
    from transforms import item_table

    table = item_table.of_transform_graph(shared.graph)
    if table is None:
        raise InputError(f"{shared.graph} has no item table.")
    values = [table.values(number) for number in range(len(table.fields))]
    attributes = attribute_controls.Attributes(values, table.ids(), controls.HASHES)
    batches = list(controls.read(shared.raw("test")))
    rows = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    score = attribute_controls.similarity(attributes, rows["item"], rows["history"])
    return {
        "auc": ranking_metrics.auc(score, rows["label"]),
        "gauc": ranking_metrics.gauc(rows["user"], score, rows["label"]),
    }


def markdown(result: dict[str, Any]) -> str:
    """The table."""
    sampled = result["samples"]
    names = [name for name, *_ in TARGET_EVENTS]
    slices = result["rows"][0]["by_target_events"]
    sizes = ", ".join(f"{slices[name]['rows']:,} rows with {name}" for name in names)
    lines = [
        f"{result['date']}, `{result['command']}`, {result['machine']}.",
        "",
        f"{sampled['ratings']}: {sampled['splits']['test']['samples']:,} test rows, "
        f"{result['seeds']} seed{'s' if result['seeds'] > 1 else ''}. The last columns are the AUC "
        f"of rows whose target has so many events in training: {sizes}.",
        "",
        f"| model | knows | eval AUC | test AUC | GAUC | {' | '.join(names)} |",
        f"|---|---|---|---|---|{'---|' * len(names)}",
    ]
    for row in result["rows"]:
        numbers = [row[f"{name}_mean"] for name in ("eval_auc", "auc", "gauc")]
        numbers += [row["by_target_events"][name]["auc"] for name in names]
        shown = " | ".join(f"{number:.3f}" for number in numbers)
        lines.append(f"| {label(row['model'])} | {row['way']} | {shown} |")
    found = result["similarity"]
    if found:
        lines.append(
            f"| similarity of attributes, no training | | | {found['auc']:.3f} | "
            f"{found['gauc']:.3f} | {' | ' * len(names)}"
        )
    return "\n".join([*lines, *report.provenance(result)]) + "\n"


if __name__ == "__main__":
    main()
