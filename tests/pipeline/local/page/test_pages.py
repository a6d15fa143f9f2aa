"""Pages in a real browser: all is drawn, nothing is loaded, nothing is wider than a phone."""

import json
import re

import altair
import pytest

from pipeline.local.page import pages
from pipeline.local.page.render import cell
from tests.support.pages import browser, page_content
from tests.support.pages.browser import needs_chromium

PAGES = {
    "refused": lambda: pages.of_run(page_content.content()),
    "pushed": lambda: pages.of_run(page_content.pushed()),
    "two runs": lambda: pages.of_two(page_content.pushed(), page_content.content()),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The three pages as files, by name."""
    folder = tmp_path_factory.mktemp("pages")
    found = {name: folder / f"{name}.html" for name in PAGES}
    for name, path in found.items():
        path.write_text(PAGES[name](), encoding="utf-8")
    return found


def specs(path):
    text = path.read_text(encoding="utf-8")
    (found,) = re.findall(r'<script type="application/json" id="charts">(.*?)</script>', text)
    return json.loads(found)["specs"]


@pytest.mark.parametrize("name", PAGES)
def test_every_chart_is_vega_lite_with_a_table_behind_it(written, name):
    text = written[name].read_text(encoding="utf-8")
    found = specs(written[name])
    assert len(found) >= 15
    for spec in found.values():
        chart = altair.Chart.from_dict(spec, validate=True)  # by the schema of Vega-Lite
        assert chart.to_dict()["width"] == "container"
        assert spec["data"]["values"]
    figures = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
    # GAUC is undefined in all slices here: its figure has a table and says so.
    undefined = [figure for figure in figures if "all values are undefined" in figure]
    assert len(figures) == len(found) + len(undefined)
    assert len(undefined) == 1
    assert "GAUC" in undefined[0]
    for figure in figures:
        (table,) = re.findall(r"<details>.*?<tbody>(.*?)</tbody>", figure, re.DOTALL)
        assert "<td" in table


def test_the_library_is_there_once_and_the_page_names_no_other_host(written):
    text = written["two runs"].read_text(encoding="utf-8")
    assert text.count("window.vegaEmbed=") == 1
    outside = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=\"(?!#|data:|tfdv.html|tfma.html)", outside)


@needs_chromium
@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")], ids=str
)
def test_the_pages_in_a_browser(written, width, scheme):
    with browser.chromium() as chromium:
        for name, path in written.items():
            page, said, requests = browser.opened(chromium, path, width, scheme)
            page.wait_for_function("document.documentElement.dataset.drawn")
            count = len(specs(path))
            assert page.evaluate("Number(document.documentElement.dataset.drawn)") == count
            assert said == [], name
            assert requests == [path.as_uri()]
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            # Every chart has marks, and keeps within its figure.
            drawn = page.evaluate(
                """() => [...document.querySelectorAll('.chart')].map(chart => {
                  const svg = chart.querySelector('svg');
                  const marks = svg.querySelectorAll('.role-mark path, .role-mark line').length;
                  const room = chart.closest('figure').getBoundingClientRect();
                  const parts = [...svg.querySelectorAll('text, .role-mark path')];
                  const out = parts.map(part => part.getBoundingClientRect()).filter(box =>
                    box.width && (box.left < room.left - 1 || box.right > room.right + 1));
                  return [chart.id, marks, out.length];
                })"""
            )
            assert len(drawn) == count
            assert [(key, out) for key, marks, out in drawn if not marks or out] == []
            # A name from the data is text, and nothing more.
            assert page.query_selector("#broken") is None
            assert page_content.NASTY in page.inner_text("main") or name == "pushed"
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (background == "rgb(255, 255, 255)") == (scheme == "light")


@needs_chromium
def test_colours_can_be_told_from_their_background(written):
    """WCAG 2: 4.5 for text, 3 for marks, in light, dark and print."""
    names = [f"series-{number}" for number in range(1, 7)]
    wanted = {"ink": 4.5, "quiet": 4.5, "good": 4.5, "bad": 4.5} | dict.fromkeys(names, 3.0)
    with browser.chromium() as chromium:
        page, _, _ = browser.opened(chromium, written["pushed"], 1280)
        for media, scheme in (("screen", "light"), ("screen", "dark"), ("print", "dark")):
            page.emulate_media(media=media, color_scheme=scheme)
            colors = page.evaluate(
                """names => Object.fromEntries(names.map(name => [name,
                  getComputedStyle(document.documentElement).getPropertyValue('--' + name)]))""",
                ["paper", "card", *wanted],
            )
            for paper in ("paper", "card"):
                ratios = {name: contrast(colors[name], colors[paper]) for name in wanted}
                too_low = {name for name, least in wanted.items() if ratios[name] < least}
                assert not too_low, (media, scheme, ratios)


def contrast(first, second):
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color):
    parts = [int(color.strip()[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_what_a_reader_looks_for_is_there(written):
    refused = written["refused"].read_text(encoding="utf-8")
    for text in (
        "Refused",
        "AUC overall 0.7000 &lt; 0.8000",
        "-0.0200 against the served model",
        "wrong number of fields",
        "ratings.csv, line 7",
        "IMN_MAX_HISTORY_LENGTH=20 make run",
        "one user has 20 % of the test rows",
        "Most wrong",
        "Most right",
        "26 older events are not shown",
        'href="tfdv.html"',
        "has price",
    ):
        assert text in refused, text
    pushed = written["pushed"].read_text(encoding="utf-8")
    for text in (
        "/out/serving_model/imn/18",
        "No line was bad.",
        "No catalogue: items are ids alone",
        "no attention weights",
        "No served model was compared",
    ):
        assert text in pushed, text
    two = written["two runs"].read_text(encoding="utf-8")
    assert "option epochs" in two
    assert "The test rows are not the same" not in two


def test_two_runs_on_other_rows_are_told():
    other = page_content.pushed()
    other["settings"]["ratings"] = "other.csv"
    assert "The test rows are not the same: ratings." in pages.of_two(other, page_content.content())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (1234, "1,234"),
        (0.87654, "0.8765"),
        (1234.5, "1,234.5"),
        ("a", "a"),
    ],
)
def test_cells(value, text):
    assert cell(value) == text
