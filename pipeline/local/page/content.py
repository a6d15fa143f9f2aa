"""What a page shows of a run: gathered from its artifacts, kept as one JSON file a run."""

import dataclasses
import json
import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.dsl.io import fileio

from pipeline.configs import PREFIX, Settings
from pipeline.errors import InputError
from pipeline.evaluation.evaluator import CURVES_FILE, DIAGNOSTICS_FILE
from pipeline.ingest.job import BAD_LINES, HISTOGRAMS
from pipeline.local.lineage import Step
from transforms import features

FOLDER = os.path.join("report", "runs")  # of the output folder
_SAMPLES = 3  # bad lines shown of each reason
_TEXT = 300  # characters of a bad line
_SHORT = {"ratings": "RATINGS", "items": "ITEMS", "model": "MODEL", "output": "OUTPUT"}

Content = dict[str, Any]


def gather(
    settings: Settings,
    report: Mapping[str, Any],
    steps: Mapping[str, Step],
    costs: Mapping[str, Any],
    served: str,
) -> Content:
    """All that a page shows of a run, ready for JSON.

    Args:
      settings: of the run.
      report: the content of `report.json`.
      steps: of the run, by component id.
      costs: what `costs.read` returns.
      served: the version that was served before the run; "0" without one.
    """
    examples, evaluation = (
        steps["RatingsExampleGen"].uri("examples"),
        steps["Evaluator"].uri("evaluation"),
    )
    values = dataclasses.asdict(settings)
    del values["metadata"]  # may hold a password
    return {
        "report": dict(report),
        "histograms": read(os.path.join(examples, HISTOGRAMS)),
        "bad_lines": bad_lines(os.path.join(examples, BAD_LINES)),
        "statistics": statistics(steps["StatisticsGen"].uri("statistics")),
        "curves": read(os.path.join(evaluation, CURVES_FILE)),
        "diagnostics": read(os.path.join(evaluation, DIAGNOSTICS_FILE)),
        "costs": dict(costs),
        "served": served,
        "settings": values,
        "command": command(report["run"], settings),
    }


def read(path: str) -> Any:
    """The content of a JSON file, which may lie in any file system."""
    with fileio.open(path, "r") as file:
        return json.load(file)


def bad_lines(folder: str) -> dict[str, list[dict[str, Any]]]:
    """Some bad lines of each reason: `place`, such as "line 7" and its file, and `text`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(str(part) for part in fileio.glob(os.path.join(folder, "*.jsonl"))):
        with fileio.open(path, "r") as file:
            for line in file:
                entry = json.loads(line)
                of_reason = found.setdefault(entry.pop("reason"), [])
                if len(of_reason) < _SAMPLES:
                    text, source = entry.pop("text"), os.path.basename(entry.pop("file"))
                    ((kind, number),) = entry.items()
                    place = f"{source}, {kind} {number:,}"
                    of_reason.append({"place": place, "text": str(text)[:_TEXT]})
    return found


def statistics(folder: str) -> list[dict[str, Any]]:
    """StatisticsGen's figures of each feature and split."""
    rows = []
    for split in features.SPLITS:
        with fileio.open(os.path.join(folder, f"Split-{split}", "FeatureStats.pb"), "rb") as file:
            found = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read())
        for feature in found.datasets[0].features:
            common = getattr(feature, feature.WhichOneof("stats")).common_stats
            row = {
                "feature": ".".join(feature.path.step) or feature.name,
                "split": split,
                "rows": common.num_non_missing + common.num_missing,
                "missing": common.num_missing,
            }
            if feature.HasField("num_stats"):
                of = feature.num_stats
                row |= {"mean": of.mean, "min": of.min, "median": of.median, "max": of.max}
            elif feature.HasField("string_stats"):
                row["distinct"] = feature.string_stats.unique
            rows.append(row)
    return rows


def command(run: Mapping[str, Any], settings: Settings) -> str:
    """The command that makes the run again, from the folder of the project."""
    given = {
        "ratings": "" if run["generated"] else settings.ratings,
        "items": "" if run["generated"] else settings.items,
        "model": settings.model if settings.model != Settings.model else "",
        "output": settings.output if settings.output != Settings.output else "",
    }
    variables = dict(run["settings"])
    for name in ("training_seed", "sampling_seed"):
        if getattr(settings, name) != getattr(Settings, name):
            variables[name] = getattr(settings, name)
    words = [f"{PREFIX}{name.upper()}={_quoted(value)}" for name, value in variables.items()]
    words += ["make run", *(f"{_SHORT[n]}={_quoted(v)}" for n, v in given.items() if v)]
    return " ".join(words)


def _quoted(value: Any) -> str:
    return shlex.quote(str(value).lower() if isinstance(value, bool) else str(value))


def save(content: Content, output: str) -> str:
    """Keeps the content in the output folder of a run, by its time; returns the path."""
    folder = os.path.join(output, FOLDER)
    fileio.makedirs(folder)
    run = content["report"]["run"]
    name = re.sub(r"\W+", "-", f"{run['time']} {run['model']}")
    # The time has no seconds: runs of one minute get numbers.
    same = len(fileio.glob(os.path.join(folder, f"{name}.*.json")))
    path = os.path.join(folder, f"{name}.{same + 1}.json")
    with fileio.open(path, "w") as file:
        file.write(json.dumps(content))
    return path


def load(place: str) -> Content:
    """The content of a run.

    Args:
      place: a file that `save` wrote, or an output folder, whose last run is taken.

    Raises:
      InputError: if there is none.
    """
    path = place
    if os.path.isdir(place):
        kept = [str(file) for file in fileio.glob(os.path.join(place, FOLDER, "*.json"))]
        if not kept:
            raise InputError(
                f"{place!r} must be the output folder of a run with a page. Received: a folder "
                f"without {FOLDER}/*.json. `make run OUTPUT={place}` writes one."
            )
        path = max(kept, key=os.path.getmtime)
    try:
        with open(path, encoding="utf-8") as file:
            content: Content = json.load(file)
        if "diagnostics" not in content:
            raise ValueError("it is no content of a page")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"A run must be an output folder, or a file below its {FOLDER}. Received: {place!r} "
            f"({error})."
        ) from None
    return content
