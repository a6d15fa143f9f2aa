"""Replaces the catalogue of the served model: new items get their attributes without a training.

    make catalogue ITEMS=FILE_OR_GLOB

exports the same weights with a new item table and pushes that as a new version. Fields,
vocabularies and buckets stay those of the training; values that it did not know count as missing.
Items that did not change must get the scores that they got before.
"""

import dataclasses
import filecmp
import os
import pathlib
import shutil
import sys

# Before TensorFlow is imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from pipeline.configs import Settings, serving_name
from pipeline.errors import InputError
from pipeline.local import console, output_folder
from pipeline.release import pusher
from transforms import features, item_table

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_WORK = "catalogue.unfinished"
_ROWS = 256
_TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class Changes:
    """How a catalogue differs from the one before, in items."""

    added: int
    removed: int
    changed: int
    unchanged: frozenset[bytes]


def main() -> int:
    """Runs the command; gives the exit status."""
    try:
        settings = Settings.from_environment(os.environ)
        if not settings.items:
            raise InputError("No catalogue given. Usage: make catalogue ITEMS=FILE_OR_GLOB.")
        if "://" not in settings.items:
            settings = dataclasses.replace(settings, items=os.path.abspath(settings.items))
        output = os.path.abspath(settings.output)
        with output_folder.locked(output):
            with console.logs_to(os.path.join(output, "logs")):
                lines = replace(settings, output)
            for line in lines:
                console.say(line)
    except InputError as error:
        console.say(f"Input: {error}")
        return console.BAD_INPUT
    return console.PUSHED


def replace(settings: Settings, output: str) -> list[str]:
    """Exports the served model with the catalogue of `settings.items` and pushes it.

    Args:
      settings: of the command: `items`, `model`, and the address of the metadata store.
      output: absolute path of the run's output folder.

    Returns:
      lines for the screen.

    Raises:
      InputError: if nothing is served, the served model has no attributes, what it was trained
        with is gone, the catalogue is refused, or the new export answers otherwise than it must.
    """
    import apache_beam as beam
    import tensorflow_transform as tft

    from model import trainer
    from model.export.signatures import ServingModule
    from pipeline import connections
    from pipeline.items.job import Request, make_item_table
    from pipeline.local import lineage
    from pipeline.release import infra_check

    name = serving_name(settings)
    serving_dir = os.path.join(output, "serving_model", name)
    version = max(pusher.versions(serving_dir), default=0)
    if not version:
        raise InputError(f"{serving_dir} must hold a version. `make run ITEMS=...` pushes one.")
    served = os.path.join(serving_dir, str(version))
    connection = connections.metadata(settings, output)
    behind = lineage.run_behind(connection, served)
    needed = {
        "Trainer": "model_run",
        "Transform": "transform_graph",
        "RatingsExampleGen": "examples",
    }
    folders = [behind[1][step].uri(key) for step, key in needed.items()] if behind else []
    if not behind or not all(map(os.path.isdir, folders)):
        raise InputError(
            f"The weights and the Transform graph of {served} must be there. They are gone, or the "
            "metadata store does not know the run. Train again with `make run`."
        )
    model_run, graph, examples = folders
    old = item_table.of_transform_graph(graph)
    if old is None:
        raise InputError(
            f"The served model must have attributes. {served} was trained without a catalogue. "
            "Train with `make run ITEMS=...`."
        )
    work = os.path.join(output, _WORK)
    shutil.rmtree(work, ignore_errors=True)
    try:
        table = os.path.join(work, "item_table")
        request = Request(
            settings.items,
            "",
            settings.max_bad_share,
            settings.max_vocabulary_size,
            item_counts=examples,
            frozen=old.folder,
        )
        arguments = connections.beam_args(settings, str(_ROOT))
        report = make_item_table(request, table, beam.Pipeline(argv=arguments))
        new_graph = os.path.join(work, "graph")
        _with_table(graph, table, new_graph)
        export = os.path.join(work, "export")
        ranker = trainer.load_trained(model_run, new_graph)
        ServingModule(ranker, tft.TFTransformOutput(new_graph)).save(export)
        new = item_table.of_transform_graph(new_graph)
        assert new is not None
        changes = compare(old, new)
        rows = infra_check.first_examples(os.path.join(examples, "Split-eval"), _ROWS)
        reason = infra_check.refusal(export, model_run, new_graph, rows)
        reason = reason or _difference(served, export, rows, changes.unchanged)
        if reason:
            raise InputError(f"The new export must answer as the served one. {reason}.")
        pushed = served
        if not _same_content(served, export):
            pushed = os.path.join(serving_dir, pusher.push(export, serving_dir))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    run, steps = behind
    if pushed != served:
        lineage.record_push(connection, run, steps["Trainer"].outputs["model"][0], pushed)
    return [
        f"Items: {report['items']:,}: {changes.added:,} new, {changes.changed:,} changed, "
        f"{len(changes.unchanged):,} as before; {changes.removed:,} are gone.",
        f"{'Pushed' if pushed != served else 'Served already'}:  {pushed}",
    ]


def compare(old: item_table.ItemTable, new: item_table.ItemTable) -> Changes:
    """The items of two tables with the same fields that are new, gone, changed and unchanged."""
    before = {item: row for row, item in enumerate(old.ids())}
    after = {item: row for row, item in enumerate(new.ids())}
    both = [item for item in after if item in before]
    same = np.ones(len(both), bool)
    for number in range(len(new.fields)):
        left = old.values(number)[[before[item] for item in both]]
        right = new.values(number)[[after[item] for item in both]]
        width = max(left.shape[1], right.shape[1])
        left, right = (np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in (left, right))
        same &= (left == right).all(axis=1)
    unchanged = frozenset(item for item, is_same in zip(both, same, strict=True) if is_same)
    return Changes(len(after) - len(both), len(before) - len(both), int((~same).sum()), unchanged)


def _with_table(graph: str, table: str, target: str) -> None:
    """Copies a Transform graph with another item table, which is also an asset of the graph."""
    shutil.copytree(graph, target)
    folder = os.path.join(target, item_table.FOLDER)
    shutil.rmtree(folder)
    shutil.copytree(table, folder)
    asset = os.path.join(target, "transform_fn", "assets", item_table.IDS)
    if not os.path.exists(asset):
        raise InputError(
            f"{graph} must have the asset `{item_table.IDS}`. It was made by other code."
        )
    shutil.copyfile(os.path.join(table, item_table.IDS), asset)


def _same_content(left: str, right: str) -> bool:
    """Whether two exports have equal variables and assets; graphs are never saved alike twice."""
    for part in ("variables", "assets"):
        first, second = os.path.join(left, part), os.path.join(right, part)
        names = sorted(os.listdir(first))
        if names != sorted(os.listdir(second)):
            return False
        if filecmp.cmpfiles(first, second, names, shallow=False)[0] != names:
            return False
    return True


def _difference(served: str, export: str, rows: list[bytes], unchanged: frozenset[bytes]) -> str:
    """Why the export's scores of rows with unchanged items alone are not the served ones, or ""."""
    import tensorflow as tf

    from pipeline.release import infra_check

    kept = []
    for row in rows:
        example = tf.train.Example.FromString(row).features.feature
        items = {
            item
            for name in (features.HISTORY_ITEM, features.TARGET_ITEM)
            for item in example[name].bytes_list.value
            if item
        }
        if items <= unchanged:
            kept.append(row)
    if not kept:
        return ""
    request = {"serving_default": {"examples": np.array(kept, object)}}
    before, after = (
        infra_check.served_scores(folder, request)["serving_default"] for folder in (served, export)
    )
    most = float(np.abs(before - after).max())
    if most <= _TOLERANCE:
        return ""
    return f"Scores of {len(kept)} rows of unchanged items differ by {most:.2g} at most"


if __name__ == "__main__":
    sys.exit(main())
