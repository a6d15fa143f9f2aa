"""The files and the Markdown tables that all benchmarks write."""

import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
Result = dict[str, Any]


def write(
    name: str,
    output: str | os.PathLike,
    result: Result,
    markdown: Callable[[Result], str],
    picture: Callable[[Result, str], None],
) -> None:
    """Writes NAME.json, NAME.md and NAME.png into the folder `output`; prints the Markdown."""
    folder = pathlib.Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(result)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / f"{name}.md").write_text(text)
    picture(result, str(folder / f"{name}.png"))
    print(text)


def line(cells: Sequence[Any]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def rule(columns: int) -> str:
    """The rule below the heads of a Markdown table: first column left, others right."""
    return "|---" + "|--:" * columns + "|"


def conditions(result: Result) -> str:
    """Date, command and machine of a result."""
    host = result["machine"]
    return (
        f"{result['date']}, `{result['command']}`. {host['processor']}, {host['cores']} cores, "
        f"{host['threads']} threads, {host['memory_mb'] / 1024:.0f} GB, "
        f"TensorFlow {host['tensorflow']}; load {host['load_at_start']:.1f} at the start."
    )


def targets_table(targets: Sequence[Result]) -> str:
    """Targets, measured values, and the gap to each missed target."""
    lines = [line(["target", "wanted", "measured", ""]), rule(3)]
    for target in targets:
        sign = "≥" if target["at_least"] else "≤"
        measured, wanted = target["measured"], target["wanted"]
        if measured is None:
            shown, verdict = "", "not measured"
        else:
            shown = f"{measured:.2f}"
            verdict = "met" if target["met"] else f"missed by {abs(measured - wanted):.2f}"
        lines.append(line([target["target"], f"{sign} {wanted:g}", shown, verdict]))
    return "\n".join(lines)
