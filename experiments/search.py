"""Hyperparameter search: for each model, six trials of one epoch and two complete trainings.

Each trial changes one thing of the best trial so far: learning rate, width, regularization, or an
option of the model. The best two are trained to the end, and eval decides between them. The test
split is not used. All IMN models share the search of 3P+.

A trial uses the whole training split, so that item tables are trained as in a complete training.
With a fifth of the users, or the newest ten windows of each, the search would choose settings that
start fast instead of settings that end well.

Example: python -m experiments.search --ratings ratings.csv.gz --output out
"""

import argparse
import json
import pathlib
import threading
from concurrent import futures
from typing import Any

from experiments import arguments, machine, runs
from experiments.sampling import samples
from experiments.training import Run
from model import presets
from pipeline.errors import InputError

# The change of a trial: options of the model, and fields of the training config.
Change = tuple[str, dict[str, Any]]
SHARED: list[Change] = [
    ("", {"learning_rate": 1e-3}),
    ("", {"learning_rate": 3e-3}),
    ("embedding_dim=16", {}),
    ("dropout=0.2", {}),
]
# L2 of the item tables. `OWN` adds one option of each model.
_REGULARIZATION: Change = ("", {"table_l2": 0.01})
OWN: dict[str, list[Change]] = {
    "youtube_dnn": [_REGULARIZATION, ("head_units=256x128", {})],
    "din": [("", {"table_l2": 0.0}), ("normalization=softmax", {})],
    "dien": [_REGULARIZATION, ("auxiliary_weight=0.1", {})],
    "sasrec": [_REGULARIZATION, ("blocks=1", {})],
    "mimn": [_REGULARIZATION, ("induction=false", {})],
    "ubr4ctr": [_REGULARIZATION, ("selected=50", {})],
    "imn_3p_plus": [_REGULARIZATION, ("normalization=sigmoid", {})],
}
# Models that use the search of another model.
SAME_AS = dict.fromkeys(("imn_2p", "imn_3p", "imn_states"), "imn_3p_plus")
_FINALISTS = 2
_ONE_EPOCH = {"epochs": 1, "evaluations_per_epoch": 1}


def main() -> None:
    """Runs the search for the command line."""
    parser = arguments.parser(__doc__)
    parser.add_argument(
        "--models",
        nargs="+",
        default=list(OWN),
        choices=[name for name in presets.PRESETS if name not in SAME_AS],
        metavar="MODEL",
    )
    args = parser.parse_args()
    settings = arguments.settings(args, recipe=False)
    output = pathlib.Path(args.output)
    runs.share_cores(args.jobs)
    shared = samples.prepare(settings, args.cache)
    path = output / "search.json"
    earlier = json.loads(path.read_text()) if path.exists() else None
    if earlier and earlier["samples"]["digest"] != shared.digest:
        raise InputError(f"{path} is a search on other samples. Give another `--output`.")
    models = search(args, shared, str(output / "cells"))
    if earlier:  # keeps the searches of other models
        models = {**earlier["models"], **models}
    origin = machine.origin("experiments.search")
    result = {**origin, "samples": shared.describe(), "models": models}
    path.write_text(json.dumps(result, indent=1) + "\n")
    (output / "search.md").write_text(markdown(result))
    print(markdown(result))


def search(
    args: argparse.Namespace, shared: samples.Samples, folder: str
) -> dict[str, dict[str, Any]]:
    """For each model the trials, and the `options` and `recipe` of the best; models in parallel."""
    lock = threading.Lock()

    def log(line: str) -> None:
        with lock:
            print(line, flush=True)

    def eval_auc(model: str, trial: dict[str, Any], recipe: dict[str, Any]) -> float:
        run = Run(model, model, trial["options"], {**trial["recipe"], **recipe})
        [result] = runs.run_all([run], shared, folder, args.cache, log=lambda line: None)
        return result["eval_auc"]

    def tune(model: str) -> dict[str, Any]:
        best: dict[str, Any] = {"options": "", "recipe": {}, "eval_auc": -1.0}
        trials = []
        for options, recipe in _changes(model):
            trial: dict[str, Any] = {
                "options": joined(best["options"], options),
                "recipe": {**best["recipe"], **recipe},
            }
            trial["eval_auc"] = eval_auc(model, trial, _ONE_EPOCH)
            trials.append(trial)
            log(f"{model} trial {len(trials)} of {len(_changes(model))}: {trial}")
            best = max(best, trial, key=lambda each: each["eval_auc"])
        finalists = sorted(trials, key=lambda each: -each["eval_auc"])[:_FINALISTS]
        for trial in finalists:
            trial["trained_eval_auc"] = eval_auc(model, trial, {})
            log(f"{model} trained to the end: {trial}")
        return {"trials": trials, **max(finalists, key=lambda each: each["trained_eval_auc"])}

    with futures.ThreadPoolExecutor(args.jobs) as pool:
        return dict(zip(args.models, pool.map(tune, args.models), strict=True))


def tuned(path: str | None, model: str) -> tuple[str, dict[str, Any]]:
    """The options and recipe that a search chose for a model; defaults without a search.

    Raises:
      InputError: if the model was not searched, or if the file is not a search.
    """
    if path is None:
        return "", {}
    try:
        with open(path, encoding="utf-8") as file:
            models = json.load(file)["models"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            "`--tuned` must name a search.json of experiments.search. "
            f"Received: {path} ({error!r})."
        ) from None
    model = SAME_AS.get(model, model)
    if model not in models:
        raise InputError(
            "`--tuned` must have a search of every model, or the comparison would be unfair. "
            f"{path} has none of `{model}`, only of {', '.join(models)}. Run experiments.search "
            f"with --models {model}."
        )
    return models[model]["options"], models[model]["recipe"]


def markdown(result: dict[str, Any]) -> str:
    """The trials of all models as a table."""
    lines = [
        f"Eval AUC on {result['samples']['ratings']}. Each trial, of one epoch, changes one thing "
        f"of the best before it; the best two are trained to the end. {result['date']}, "
        f"`{result['command']}`, {result['machine']}.",
        "",
        "| model | trial | change | after one epoch | trained to the end |",
        "|---|---|---|---|---|",
    ]
    for model, found in result["models"].items():
        for number, trial in enumerate(found["trials"]):
            options, recipe = _changes(model)[number]
            fields = [f"{name}={value}" for name, value in recipe.items()]
            change = ", ".join(filter(None, [options, *fields]))
            end = trial.get("trained_eval_auc")
            mark = "**" if end and end == found["trained_eval_auc"] else ""
            lines.append(
                f"| {model} | {number + 1} | {change} | {trial['eval_auc']:.4f} "
                f"| {f'{mark}{end:.4f}{mark}' if end else ''} |"
            )
    return "\n".join(lines) + "\n"


def _changes(model: str) -> list[Change]:
    """The changes of the trials of a model, in order."""
    return [*SHARED, *OWN.get(model, [_REGULARIZATION])]


def joined(*options: str) -> str:
    """Merges options; later ones win."""
    values = dict(part.split("=") for text in options for part in text.split(",") if part)
    return ",".join(f"{name}={value}" for name, value in values.items())


if __name__ == "__main__":
    arguments.run(main)
