"""The two pages: about one run, and about two side by side."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.local.page import comparison, sections
from pipeline.local.page.content import Content
from pipeline.local.page.render import render


def of_run(content: Content) -> str:
    """The page of a run, as HTML."""
    title = f"{content['report']['run']['model']} on {_ratings(content)}"
    return render(title, [_head(content, "")], sections.sections(content))


def of_two(old: Content, new: Content) -> str:
    """The page of two runs side by side, as HTML."""
    names = _names(old, new)
    heads = [_head(content, name) for content, name in zip((old, new), names, strict=True)]
    return render(f"{names[0]} and {names[1]}", heads, comparison.compared(old, new, names))


def _names(old: Content, new: Content) -> tuple[str, str]:
    """What two runs are called: by their models, and by their times if those are the same."""
    first, second = (
        {
            "model": content["report"]["run"]["model"],
            "time": content["report"]["run"]["time"],
        }
        for content in (old, new)
    )
    if first["model"] != second["model"]:
        return first["model"], second["model"]
    if first["time"] != second["time"]:
        return f"run of {first['time']}", f"run of {second['time']}"
    return "old run", "new run"


def _ratings(content: Content) -> str:
    run = content["report"]["run"]
    return "generated ratings" if run["generated"] else os.path.basename(run["ratings"])


def _head(content: Content, name: str) -> Mapping[str, Any]:
    report = content["report"]
    run = report["run"]
    facts: Sequence[tuple[str, str]] = (
        ("Run", f"{run['time']}, trained {run['trained']}"),
        ("Model", f"{run['model']}, seed {run['training_seed']}"),
        ("Ratings", run["ratings"] + (" (generated, not real)" if run["generated"] else "")),
        ("Catalogue", run["items"] or "none, items are ids alone"),
        ("Training", run["ending"]),
    )
    return {
        "name": name,
        "verdict": sections.verdict(content),
        "tiles": sections.tiles(content),
        "facts": facts,
        "checks": sections.checks(content),
    }
