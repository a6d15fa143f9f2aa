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
    names = ("old", "new")
    heads = [
        _head(content, f"{name}: {content['report']['run']['model']} on {_ratings(content)}")
        for content, name in zip((old, new), names, strict=True)
    ]
    return render("Two runs side by side", heads, comparison.compared(old, new, names))


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
