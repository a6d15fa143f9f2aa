"""The sections of a page about two runs: what differs, then both side by side."""

from typing import Any

from pipeline.configs import INGESTION
from pipeline.evaluation.eval_config import CANDIDATE
from pipeline.local.page import sections
from pipeline.local.page.blocks import Note, Pair, Section, Table
from pipeline.local.page.content import Content
from pipeline.local.page.figures import costs as cost_figures
from pipeline.local.page.figures import metrics as metric_figures
from pipeline.local.page.figures import scores as score_figures


def compared(old: Content, new: Content, names: tuple[str, str]) -> list[Section]:
    """All sections; `names` is what the runs are called."""
    runs = dict(zip(names, (old, new), strict=True))

    def pair(section: Any) -> Section:
        sides = [section(content) for content in (old, new)]
        blocks = [Pair(names, (sides[0].blocks, sides[1].blocks))]
        return Section(sides[0].key, sides[0].title, blocks)

    return [
        differences(old, new, names),
        metrics(runs, new),
        scores(runs),
        training(runs),
        Section(
            "cost",
            "Time and memory",
            cost_figures.compared({name: content["costs"] for name, content in runs.items()}),
        ),
        pair(sections.data),
        pair(sections.catalogue),
        pair(sections.controls),
        pair(sections.attention),
        pair(sections.users),
        pair(sections.settings),
    ]


def differences(old: Content, new: Content, names: tuple[str, str]) -> Section:
    """Whether the test rows are the same, and the settings and versions that differ."""
    same = ("ratings", *INGESTION)
    changed = [name for name in same if old["settings"].get(name) != new["settings"].get(name)]
    counted = [content["report"]["ingestion"]["splits"] for content in (old, new)]
    if changed or counted[0] != counted[1]:
        reason = f": {', '.join(changed)}" if changed else ", and their numbers differ"
        said = f"The test rows are not the same{reason}. So the metrics do not compare the models."
    else:
        said = "Ratings and sampling are the same, so the metrics are of the same test rows."
    kinds = (
        ("setting", "settings"),
        *(("option", part) for part in ("config", "recipe")),
        ("version", "versions"),
    )
    rows = []
    for kind, part in kinds:
        first, second = (
            content["settings"] if part == "settings" else content["report"]["run"][part]
            for content in (old, new)
        )
        rows += [
            [f"{kind} {name}", _text(first.get(name)), _text(second.get(name))]
            for name in {**first, **second}
            if first.get(name) != second.get(name)
        ]
    blocks: list[Any] = [Note(said)]
    if rows:
        blocks.append(Table("What differs", ["", *names], rows))
    else:
        blocks.append(Note("Settings and versions are the same."))
    return Section("differences", "What differs", blocks)


def metrics(runs: dict[str, Content], new: Content) -> Section:
    """Metrics by slice of both runs on the same axes."""
    of_run = {name: content["report"]["metrics"] for name, content in runs.items()}
    names = sections.slice_names(new)
    blocks = [
        *metric_figures.by_slice(of_run, names),
        metric_figures.differences(of_run, names),
    ]
    return Section("metrics", "Metrics by slice", blocks)


def scores(runs: dict[str, Content]) -> Section:
    """ROC and calibration of both models, and the scores of each."""
    curves = {name: content["curves"][CANDIDATE] for name, content in runs.items()}
    blocks = [
        score_figures.roc(curves),
        score_figures.calibration(curves),
        *(score_figures.histogram(name, curve) for name, curve in curves.items()),
    ]
    return Section("scores", "Scores", blocks)


def training(runs: dict[str, Content]) -> Section:
    """Learning curves of both trainings."""
    return Section(
        "training",
        "Training",
        score_figures.learning({name: content["report"]["run"] for name, content in runs.items()}),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
