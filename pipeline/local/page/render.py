"""Fills the page: one HTML file with its style, its charts, and the library that draws them."""

import datetime
import functools
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import markupsafe
import vl_convert

from pipeline.local.page import chart
from pipeline.local.page.blocks import Figure, Section

_FOLDER = pathlib.Path(__file__).parent


def render(title: str, heads: Sequence[Mapping[str, Any]], sections: Sequence[Section]) -> str:
    """The page as HTML, which loads nothing from elsewhere.

    Args:
      title: of the page.
      heads: one for each run: `name`, `verdict`, `tiles`, `facts` (pairs of texts) and `checks`.
      sections: in their order.
    """
    specs: dict[str, Any] = {}

    def place(figure: Figure) -> str:
        key = f"chart-{len(specs) + 1}"
        specs[key] = {**figure.spec, "description": f"{figure.title}. {figure.says}"}
        return key

    def charts() -> markupsafe.Markup:
        text = json.dumps({"theme": chart.THEME, "specs": specs}, allow_nan=False)
        return markupsafe.Markup(text.replace("<", "\\u003c"))  # nothing may end the script

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"cell": cell, "day": day}
    page = environment.get_template("page.html")
    return page.render(
        title=title,
        heads=heads,
        sections=sections,
        place=place,
        charts=charts,
        css=_file("page.css"),
        js=_file("page.js"),
        library=_library(),
    )


def cell(value: Any) -> str:
    """A value as the text of a cell."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if math.isfinite(value) and abs(value) >= 100:
            return f"{value:,.1f}"
        return f"{value:.4f}"
    return str(value)


def day(seconds: int) -> str:
    """A time as YYYY-MM-DD, in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).date().isoformat()


@functools.cache  # it takes a second
def _library() -> markupsafe.Markup:
    """Vega-Embed with Vega and Vega-Lite, as one script."""
    return _script(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def _file(name: str) -> markupsafe.Markup:
    return _script((_FOLDER / name).read_text(encoding="utf-8"))


def _script(text: str) -> markupsafe.Markup:
    """Code that may stand inside an element, because no closing tag is in it."""
    return markupsafe.Markup(text.replace("</script", "<\\/script").replace("<!--", "<\\!--"))
