"""Finds the ratings behind a pushed model, and how they were read."""

import dataclasses
import os

from pipeline.configs import Settings
from pipeline.errors import InputError
from transforms import features

_READING = ("ratings", "layout", "columns", "separator", "min_rating", "sampling_seed")


def settings(given: Settings, output: str, folder: str) -> Settings:
    """The settings that read the ratings behind a version as its ingestion did.

    Args:
      given: if it names `ratings`, these are read.
      output: output folder of the run.
      folder: folder of the version.

    Raises:
      InputError: if the version has no assets, or if no ratings are given and the metadata store
        knows none.
    """
    found = dataclasses.replace(given, event_fields=_event_fields(folder))
    if given.ratings:
        return found
    from pipeline import connections
    from pipeline.local import lineage

    ingestion = None
    if given.metadata or os.path.exists(os.path.join(output, "metadata.db")):
        ingestion = lineage.ingestion_behind(connections.metadata(given, output), folder)
    if ingestion is None:
        raise InputError(
            f"The metadata of {output} does not record the ratings of {folder}. "
            "Set RATINGS= to them."
        )
    known = {name: ingestion[name] for name in _READING if name in ingestion}
    return dataclasses.replace(found, **known)


def vocabulary(folder: str) -> str:
    """The file of a version with the ids of training, the most frequent first."""
    return os.path.join(folder, "assets", features.ITEM_VOCABULARY)


def unusable(folder: str, task: str, error: Exception) -> InputError:
    """The error of a version that does not do its task, such as "load"."""
    reason = (str(error).strip() or repr(error)).splitlines()[0].rstrip(".")
    return InputError(
        f"The newest pushed version must {task}. {folder} does not: {reason}. Remove the folder to "
        "ask the version before it, or let `make run` push another one."
    )


def _event_fields(folder: str) -> str:
    """The setting `event_fields` of a model: it has a vocabulary of each field."""
    prefix = features.event_vocabulary("")
    try:
        names = sorted(os.listdir(os.path.join(folder, "assets")))
    except OSError as error:
        raise unusable(folder, "have its assets", error) from None
    return ",".join(name.removeprefix(prefix) for name in names if name.startswith(prefix))
