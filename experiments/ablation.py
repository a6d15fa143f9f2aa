"""What each part of IMN and of the recipe is worth: 3P+ with one thing changed at a time.

Example: python -m experiments.ablation --ratings ratings.csv.gz --seeds 3 --output out
"""

import json
import pathlib
from typing import Any

from experiments import arguments, machine, report, runs, samples, search, table1

# What is changed of IMN 3P+: options of the model, and fields of the recipe.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "imn_3p_plus": ("", {}),
    "without enhancement": ("enhancement=false", {}),
    "without differences": ("differences=false", {}),
    "without products": ("products=false", {}),
    "without feedback": ("feedback=false", {}),
    "shared attention": ("share_attention=true", {}),
    "sigmoid": ("normalization=sigmoid", {}),
    "softmax": ("normalization=softmax", {}),
    "length": ("normalization=length", {}),
    "1 pass": ("passes=1", {}),
    **{f"{passes} passes": (f"passes={passes}", {}) for passes in range(2, 7)},
    "random first values": ("gru_start=random", {}),
    "head without product": ("head_product=false", {}),
    "plain cross-entropy": ("", {"extra_candidates": 0}),
    "one rate for all": ("", {"learning_rate": 1e-3, "table_learning_rate": 1e-3}),
    "plain cross-entropy, one rate for all": (
        "",
        {"extra_candidates": 0, "learning_rate": 1e-3, "table_learning_rate": 1e-3},
    ),
    "with states": ("states=true", {}),
    "with states, no next-event loss": ("states=true,auxiliary_weight=0", {}),
    "thinned histories": ("", {"history_dropout": 1.0}),
    "with states, thinned histories": ("states=true", {"history_dropout": 1.0}),
    "model as in the paper": (
        "normalization=sigmoid,gru_start=random,head_product=false",
        {},
    ),
}


def main() -> None:
    """Makes the table for the command line."""
    parser = arguments.parser(__doc__)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=arguments.positive, default=3)
    parser.add_argument("--tuned", help="search.json of experiments.search, for settings")
    given = parser.parse_args()
    settings = arguments.settings(given)
    runs.share_cores(given.jobs)
    options, recipe = search.tuned(given.tuned, "imn_3p_plus")
    recipe = recipe | settings.recipe()
    shared = samples.prepare(settings, given.cache)
    asked: list[runs.Run] = []
    for seed in range(given.seeds):
        for name, (own, changed) in VARIANTS.items():
            if name in given.variants:
                joined = search.joined(options, own)
                cell = runs.Run(name, "imn_3p_plus", joined, recipe | changed, seed)
                # A variant that is another's setting is no row of its own.
                if cell.key(shared) not in {other.key(shared) for other in asked}:
                    asked.append(cell)
    output = pathlib.Path(given.output)
    done = runs.run(asked, shared, str(output / "cells"), given.cache, given.jobs)
    result = {
        **machine.origin("experiments.ablation"),
        "samples": shared.describe(),
        "seeds": given.seeds,
        "tuned": bool(given.tuned),
        "rows": table1.rows(done, {}),
        "comparisons": table1.comparisons(done),
        "controls": table1.controls(done, shared),
        **runs.provenance(done),
    }
    (output / "ablation.json").write_text(json.dumps(result, indent=1) + "\n")
    (output / "ablation.md").write_text(report.table1(result))
    report.picture(result, str(output / "ablation.png"))
    print(report.table1(result))


if __name__ == "__main__":
    arguments.run(main)
