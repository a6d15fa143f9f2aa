"""What each part of IMN and of the recipe adds: IMN 3P+ with one change in each row.

Example: python -m experiments.ablation --ratings ratings.csv.gz --seeds 3 --output out
"""

import json
import pathlib
from typing import Any

from experiments import arguments, machine, report, runs, search, table1
from experiments.sampling import samples
from experiments.training import Run

# The changes to IMN 3P+: options of the model, and fields of the training config.
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
    args = parser.parse_args()
    settings = arguments.settings(args)
    runs.share_cores(args.jobs)
    options, recipe = search.tuned(args.tuned, "imn_3p_plus")
    recipe = recipe | settings.recipe()
    shared = samples.prepare(settings, args.cache)
    planned: list[Run] = []
    for seed in range(args.seeds):
        for name, (changed_options, changed_recipe) in VARIANTS.items():
            if name in args.variants:
                run_options = search.joined(options, changed_options)
                run = Run(name, "imn_3p_plus", run_options, recipe | changed_recipe, seed)
                # Two variants with equal settings are one row.
                if run.key(shared) not in {other.key(shared) for other in planned}:
                    planned.append(run)
    output = pathlib.Path(args.output)
    results = runs.run_all(planned, shared, str(output / "cells"), args.cache, args.jobs)
    result = {
        **machine.origin("experiments.ablation"),
        "samples": shared.describe(),
        "seeds": args.seeds,
        "tuned": bool(args.tuned),
        "rows": table1.rows(results, {}),
        "comparisons": table1.comparisons(results),
        "controls": table1.controls(results, shared),
        **runs.provenance(results),
    }
    (output / "ablation.json").write_text(json.dumps(result, indent=1) + "\n")
    (output / "ablation.md").write_text(report.table1(result))
    report.picture(result, str(output / "ablation.png"))
    print(report.table1(result))


if __name__ == "__main__":
    arguments.run(main)
