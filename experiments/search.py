"""The same budget of tuning for every system: six trainings of one epoch, two to the end.

A trial sees the whole training split, so that item tables are trained as in a whole
training: on a fifth of the users, or on the newest ten windows of each, what starts
fast wins and not what ends well. It changes one thing of the best trial so far: rate,
width, regularisation, and one option of the system's own. The best two are then trained
to the end, and eval says which stays. The test split is never looked at. All
rows of IMN share one search, that of 3P+.

Example: python -m experiments.search --ratings ratings.csv.gz --output out
"""

import argparse
import json
import pathlib
import threading
from concurrent import futures
from typing import Any

from experiments import arguments, machine, runs, samples
from model import presets
from pipeline.errors import InputError

# One thing changed a trial: options of the model, and fields of the recipe.
Change = tuple[str, dict[str, Any]]
SHARED: list[Change] = [
    ("", {"learning_rate": 1e-3}),
    ("", {"learning_rate": 3e-3}),
    ("embedding_dim=16", {}),
    ("dropout=0.2", {}),
]
# Regularisation of the tables, and one option of the system's own, where it has one.
_REGULARISATION: Change = ("", {"table_l2": 0.01})
OWN: dict[str, list[Change]] = {
    "youtube_dnn": [_REGULARISATION, ("head_units=256x128", {})],
    "din": [("", {"table_l2": 0.0}), ("normalization=softmax", {})],
    "dien": [_REGULARISATION, ("auxiliary_weight=0.1", {})],
    "sasrec": [_REGULARISATION, ("blocks=1", {})],
    "mimn": [_REGULARISATION, ("induction=false", {})],
    "ubr4ctr": [_REGULARISATION, ("selected=50", {})],
    "imn_3p_plus": [_REGULARISATION, ("normalization=sigmoid", {})],
}
# Rows that take over the settings found for another.
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
    given = parser.parse_args()
    settings = arguments.settings(given, recipe=False)
    output = pathlib.Path(given.output)
    runs.share_cores(given.jobs)
    shared = samples.prepare(settings, given.cache)
    path = output / "search.json"
    earlier = json.loads(path.read_text()) if path.exists() else None
    if earlier and earlier["samples"]["digest"] != shared.digest:
        raise InputError(f"{path} is the search of other samples. Give another `--output`.")
    result = search(given, shared, str(output / "cells"))
    if earlier:  # of other models, perhaps
        result = {**earlier["models"], **result}
    origin = machine.origin("experiments.search")
    content = {**origin, "samples": shared.describe(), "models": result}
    path.write_text(json.dumps(content, indent=1) + "\n")
    (output / "search.md").write_text(markdown(content))
    print(markdown(content))


def search(
    given: argparse.Namespace, shared: samples.Samples, folder: str
) -> dict[str, dict[str, Any]]:
    """For each model its trials and the `options` and `recipe` of the best, models at once."""
    lock = threading.Lock()

    def tell(line: str) -> None:
        with lock:
            print(line, flush=True)

    def trained(model: str, trial: dict[str, Any], recipe: dict[str, Any]) -> float:
        cell = runs.Run(model, model, trial["options"], {**trial["recipe"], **recipe})
        [done] = runs.run([cell], shared, folder, given.cache, tell=lambda line: None)
        return done["eval_auc"]

    def tune(model: str) -> dict[str, Any]:
        best: dict[str, Any] = {"options": "", "recipe": {}, "eval_auc": -1.0}
        trials = []
        for options, recipe in _changes(model):
            trial: dict[str, Any] = {
                "options": joined(best["options"], options),
                "recipe": {**best["recipe"], **recipe},
            }
            trial["eval_auc"] = trained(model, trial, _ONE_EPOCH)
            trials.append(trial)
            tell(f"{model} trial {len(trials)} of {len(_changes(model))}: {trial}")
            best = max(best, trial, key=lambda each: each["eval_auc"])
        last = sorted(trials, key=lambda each: -each["eval_auc"])[:_FINALISTS]
        for trial in last:
            trial["trained_eval_auc"] = trained(model, trial, {})
            tell(f"{model} trained to the end: {trial}")
        return {"trials": trials, **max(last, key=lambda each: each["trained_eval_auc"])}

    with futures.ThreadPoolExecutor(given.jobs) as pool:
        return dict(zip(given.models, pool.map(tune, given.models), strict=True))


def tuned(path: str | None, model: str) -> tuple[str, dict[str, Any]]:
    """Options and recipe that a search found for a model; nothing without a search.

    Raises:
      InputError: for a model that was not searched, and a file that is no search.
    """
    if path is None:
        return "", {}
    try:
        with open(path, encoding="utf-8") as file:
            models = json.load(file)["models"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"`--tuned` must name a search.json of experiments.search. {path} is none: {error!r}."
        ) from None
    model = SAME_AS.get(model, model)
    if model not in models:
        raise InputError(
            f"{path} has no search for `{model}`, and a system left untuned makes a table unfair. "
            f"It has: {', '.join(models)}. Run experiments.search with --models {model}."
        )
    return models[model]["options"], models[model]["recipe"]


def markdown(content: dict[str, Any]) -> str:
    """The trials of all models as a table."""
    lines = [
        f"Eval AUC on {content['samples']['ratings']}. Each trial, of one epoch, changes one thing "
        f"of the best before it; the best two are trained to the end. {content['date']}, "
        f"`{content['command']}`, {content['machine']}.",
        "",
        "| model | trial | change | after one epoch | trained to the end |",
        "|---|---|---|---|---|",
    ]
    for model, found in content["models"].items():
        for number, trial in enumerate(found["trials"]):
            change = _changes(model)[number]
            text = ", ".join(filter(None, [change[0], *(f"{k}={v}" for k, v in change[1].items())]))
            end = trial.get("trained_eval_auc")
            mark = "**" if end and end == found["trained_eval_auc"] else ""
            lines.append(
                f"| {model} | {number + 1} | {text} | {trial['eval_auc']:.4f} "
                f"| {f'{mark}{end:.4f}{mark}' if end else ''} |"
            )
    return "\n".join(lines) + "\n"


def _changes(model: str) -> list[Change]:
    """What the trials of a model change, one after the other."""
    return [*SHARED, *OWN.get(model, [_REGULARISATION])]


def joined(*options: str) -> str:
    """Options of both; the later one wins."""
    values = dict(part.split("=") for text in options for part in text.split(",") if part)
    return ",".join(f"{name}={value}" for name, value in values.items())


if __name__ == "__main__":
    arguments.run(main)
