"""The head of a report: which run it is of, as JSON and as lines of text."""

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import shlex
from typing import Any

from tfx.dsl.io import fileio

from model.trainer import DESCRIPTION
from model.training import early_stopping
from pipeline.configs import PREFIX, Settings
from pipeline.local.lineage import Step

_DISTRIBUTIONS = {
    "imn": "iterative-memory-network",
    "TFX": "tfx",
    "TensorFlow": "tensorflow",
}
# They have a line of their own, or hold a password (`metadata`).
_NOT_LISTED = ("ratings", "items", "model", "output", "metadata", "training_seed", "sampling_seed")
_WIDTH = 11


def head(settings: Settings, generated: bool, trainer: Step) -> dict[str, Any]:
    """What a reader must know to tell this run from another one.

    Args:
      settings: of the run.
      generated: whether the ratings were generated.
      trainer: the Trainer of the run, new or reused.

    Returns:
      `time`: now, in UTC. `trained`: when the training ended, in UTC, which is long ago if it was
      reused. `ratings`, `items`: files; `items` is None without a catalogue. `generated`.
      `model`, `config`, `recipe`: as trained. `settings`: those that differ from the default.
      `training_seed`, `sampling_seed`. `best`: the evaluation whose weights are kept, with `epoch`
      from 0. `evaluations`: all of them. `ending`: why training stopped, in words. `versions`.
    """
    with fileio.open(os.path.join(trainer.uri("model_run"), DESCRIPTION), "r") as file:
        training = json.load(file)
    recipe, evaluations = training["recipe"], training["evaluations"]
    milliseconds = trainer.outputs["model_run"][0].create_time_since_epoch
    return {
        "time": _utc(datetime.datetime.now(datetime.timezone.utc)),
        "trained": _utc(datetime.datetime.fromtimestamp(milliseconds / 1e3, datetime.timezone.utc)),
        "ratings": settings.ratings,
        "items": settings.items or None,
        "generated": generated,
        "model": training["model"],
        "config": training["config"],
        "recipe": recipe,
        "settings": changed(settings),
        "training_seed": training["seed"],
        "sampling_seed": settings.sampling_seed,
        "best": training["best"],
        "evaluations": evaluations,
        "ending": early_stopping.ending(evaluations, recipe["epochs"], recipe["patience"]),
        "versions": versions(),
    }


def lines(head: dict[str, Any]) -> list[str]:
    """The head as seven lines."""
    source = " (generated from a seed, not real)" if head["generated"] else ""
    settings = " ".join(
        f"{PREFIX}{name.upper()}={shlex.quote(_text(value))}"
        for name, value in head["settings"].items()
    )
    rows = {
        "Run": f"{head['time']}, trained {head['trained']}",
        "Model": f"{head['model']}, seed {head['training_seed']} of the training, "
        f"{head['sampling_seed']} of the samples",
        "Ratings": head["ratings"] + source,
        "Catalogue": head["items"] + source if head["items"] else "none, items are ids alone",
        "Settings": f"{settings or 'all'}{'; all others' if settings else ''} by default",
        "Training": head["ending"],
        "Versions": ", ".join(f"{name} {version}" for name, version in head["versions"].items()),
    }
    return [f"{name + ':':<{_WIDTH}}{text}" for name, text in rows.items()]


def changed(settings: Settings) -> dict[str, Any]:
    """The settings that differ from the default, by name, without those of other lines."""
    return {
        field.name: value
        for field in dataclasses.fields(settings)
        if field.name not in _NOT_LISTED
        and (value := getattr(settings, field.name)) != field.default
    }


def versions() -> dict[str, str]:
    """Versions of the project, of Python and of the libraries that decide about a result."""
    found = {}
    for name, distribution in _DISTRIBUTIONS.items():
        try:
            found[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:  # the project may run without installation
            found[name] = "unknown"
    return found | {"Python": platform.python_version()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _utc(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC")
