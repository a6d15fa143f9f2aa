"""Writes docs/settings.md from the code: every setting with its default and its meaning.

    python -m pipeline.local.settings_page

A test compares the page with the code.
"""

import dataclasses
import pathlib
import re

from model import configs as model_configs
from model.configs import TrainingConfig
from pipeline import configs
from transforms.checked import Checked

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "settings.md"
_HEAD = """# Settings

Each field is a setting of a run: `IMN_<FIELD>` in the environment, for `make run`, `tfx run create`
and a Kubeflow compilation alike. Written from [`pipeline/configs.py`](reference/pipeline.md) and
`model/configs.py` by `python -m pipeline.local.settings_page`.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for group in reversed(configs.Settings.__bases__):
        about = (group.__doc__ or "").strip().splitlines()[0]
        if group is configs.Recipe:
            about = "How a model is trained. A preset may have other defaults (model/presets.py)."
        parts.append(f"## {group.__name__}\n\n{about}\n")
        parts.append("\n".join(["| setting | default | |", "|---|---|---|", *_rows(group)]) + "\n")
    return "\n".join(parts)


def _rows(group: type[Checked]) -> list[str]:
    if group is configs.Recipe:  # None there stands for the value of the preset or of this class
        group = TrainingConfig
    module = model_configs if group is TrainingConfig else configs
    comments = _comments(str(module.__file__))
    rows = []
    for field in dataclasses.fields(group):
        default = field.default
        if "allowed" in field.metadata:
            default = f"{default} ({', '.join(field.metadata['allowed'][1:])})"
        shown = f"`{default}`" if default not in ("", None) else ""
        if isinstance(field.default, int) and field.default is not True and field.default > 9_999:
            shown = f"{field.default:,}"
        about = comments.get((group.__name__, field.name), "").replace("|", "\\|")
        rows.append(f"| `IMN_{field.name.upper()}` | {shown} | {about} |")
    return rows


def _comments(path: str) -> dict[tuple[str, str], str]:
    """The comment above and behind each field, by class and name."""
    found: dict[tuple[str, str], str] = {}
    group, name, above = "", "", ""
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        behind = line.partition("  # ")[2].strip()
        if line.lstrip().startswith("#"):
            above = f"{above} {line.strip('# ')}".strip()
        elif match := re.match(r"class (\w+)", line):
            group, name, above = match[1], "", ""
        elif match := re.match(r"    (\w+): ", line):
            name = match[1]
            found[group, name] = f"{above} {behind}".strip()
            above = ""
        elif name and behind:  # a field of several lines
            found[group, name] = behind
        elif line.strip():
            above = ""
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
