"""The page in a real browser, against the embedded server: what a person does and sees."""

import json
import os
import re

import pytest

from pipeline.configs import Settings
from recommend.page_data import RatingsPageData
from serving.versions import Policy
from tests.support.raw_examples import DAY, NOW
from tests.support.serving_requests import Running

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = "/usr/bin/chromium"
pytestmark = pytest.mark.skipif(
    not os.path.exists(CHROMIUM), reason=f"needs Chromium, and {CHROMIUM} is not there"
)
HISTORY = ["i001", "i002", "i003"]  # of ann, oldest first
HISTORY_TIMES = [NOW - days * DAY for days in (30, 20, 10)]
MILLISECONDS = 60_000  # the machine may be busy


@pytest.fixture(scope="module")
def server(page_models):
    settings = Settings(ratings=str(page_models.parents[1] / "ratings.csv"))
    data = RatingsPageData(str(page_models), settings)
    server = Running(page_models, policy=Policy(2), page_data=data)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, server):
    """Opens the page; the test fails if anything is written to the console, or asked elsewhere."""
    contexts, faults = [], []
    own = f"http://127.0.0.1:{server.rest_port}"

    def run(fragment="model=imn/1&user=ann", **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(MILLISECONDS)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on(
            "request",
            lambda request: request.url.startswith((own, "data:")) or faults.append(request.url),
        )
        page.goto(f"{own}/#{fragment}")
        if "user=" in fragment:
            page.wait_for_selector(".ranking li")
        page.faults = faults
        return page

    yield run
    for context in contexts:
        context.close()
    assert not faults


def shown(page, side=0):
    """Ids and scores of a ranking."""
    rows = page.locator(".ranking").nth(side).locator(":scope > ol > li")
    scores = [float(text) for text in rows.locator(".score").all_inner_texts()]
    return [row.get_attribute("data-item") for row in rows.all()], scores


def history_inputs(history=HISTORY, times=HISTORY_TIMES, at=NOW, **others):
    return {
        "history_item": [history],
        "history_time": [times],
        "history_length": [len(history)],
        "request_time": [at],
        **others,
    }


def expected(server, history, times, at=NOW, version=1):
    """The ten best that a client gets from TF Serving's REST call for the items ann has not had."""
    candidates = [f"i{number:03}" for number in range(60) if f"i{number:03}" not in HISTORY]
    inputs = history_inputs(history, times, at, candidates=[candidates])
    body = {"signature_name": "rank", "inputs": inputs}
    status, answer = server.http(f"/v1/models/imn/versions/{version}:predict", body)
    assert status == 200, answer
    scores = dict(zip(candidates, answer["outputs"][0], strict=True))
    best = sorted(scores.values(), reverse=True)[:10]
    return scores, best


def check(page, server, history, times, at=NOW, side=0, version=1):
    scores, best = expected(server, history, times, at, version)
    items, seen = shown(page, side)
    assert seen == pytest.approx(best, abs=6e-5)
    assert [scores[item] for item in items] == pytest.approx(seen, abs=6e-5)


def change(page, action):
    """Does something, and waits for the ranking after it."""
    with page.expect_response(re.compile(":predict$"), timeout=MILLISECONDS):
        action()
    page.wait_for_selector("#rankings:not([aria-busy])")


def test_it_shows_what_a_client_gets_and_the_reasons(opened, server):
    page = opened()
    check(page, server, HISTORY, HISTORY_TIMES)
    assert page.locator("#events li").count() == 3
    assert page.locator(".ranking details[open]").count() == 1
    assert page.locator(".ranking details").first.get_attribute("open") is not None
    passes = page.locator(".ranking li").first.locator(".reasons section")
    assert passes.count() == 3
    best = shown(page)[0][0]
    body = {"signature_name": "explain", "inputs": history_inputs(candidates=[[best]])}
    _, answer = server.http("/v1/models/imn/versions/1:predict", body)
    for number, weights in enumerate(answer["outputs"]["attention"][0]):
        seen = [float(text) for text in passes.nth(number).locator(".weight").all_inner_texts()]
        assert seen == pytest.approx(sorted(weights[0], reverse=True), abs=6e-4)


def test_an_event_is_left_out_and_the_ranking_moves(opened, server):
    page = opened()
    box = page.locator('#events li[data-item="i002"] input')
    change(page, box.uncheck)
    times = [HISTORY_TIMES[0], HISTORY_TIMES[2]]
    check(page, server, ["i001", "i003"], times)
    assert page.locator("#summary").inner_text() == "3 events, 2 used"
    assert re.match(r"\d+ of the 10 items moved\.|No item moved\.", page.inner_text("#moved"))
    change(page, box.check)
    check(page, server, HISTORY, HISTORY_TIMES)


def test_the_time_of_the_request_decides_which_events_count(opened, server):
    page = opened()
    at = NOW - 15 * DAY
    day = page.evaluate("at => new Date(at * 1000).toISOString().slice(0, 10)", at)
    change(page, lambda: page.fill("#at", day))
    check(page, server, HISTORY[:2], HISTORY_TIMES[:2], at - at % DAY)
    assert "after the request" in page.inner_text('#events li[data-item="i003"]')


def test_a_history_is_put_together_with_the_keyboard_alone(opened, server):
    page = opened()
    change(page, lambda: page.click("#empty"))
    page.locator("#empty").blur()
    page.keyboard.press("/")
    page.keyboard.type("thing 33")
    page.wait_for_selector("#add-options li")
    change(page, lambda: page.keyboard.press("Enter"))
    assert page.locator("#events li").get_attribute("data-item") == "i033"
    page.keyboard.type("i04")
    page.wait_for_selector('#add-options li:has-text("Thing 42")')
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Escape")
    assert page.locator("#add-options").is_hidden()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("shelf 5 i040")  # 40 = 5 * 7 + 5
    change(page, lambda: page.keyboard.press("Enter"))
    assert page.locator("#summary").inner_text() == "2 events, 2 used"
    items = {"i033", "i040"}
    assert {row.get_attribute("data-item") for row in page.locator("#events li").all()} == items
    assert not items & set(shown(page)[0])


def test_a_user_is_found_by_a_part_of_the_id(opened):
    page = opened()
    page.click("#user")
    page.keyboard.type("anna")
    page.click('#user-options li:has-text("Annabel")')
    page.wait_for_selector('#events li[data-item="i007"]')
    assert page.inner_text("#user-status") == "Annabel"
    assert "user=Annabel" in page.url


def test_two_versions_side_by_side(opened, server):
    page = opened("model=imn/1&with=imn/2&user=ann")
    page.wait_for_selector('#rankings[data-columns="2"]')
    check(page, server, HISTORY, HISTORY_TIMES)
    check_recommended(page, server, side=1)
    (left, _), (right, _) = shown(page, 0), shown(page, 1)
    there = page.locator(".ranking").first.locator(".moves").all_inner_texts()
    for item, place in zip(left, there, strict=True):
        assert (item in right) == (place in [f"#{number}" for number in range(1, 11)])
        assert item not in right or place == f"#{right.index(item) + 1}"
    page.select_option("#other", "")
    page.wait_for_selector('#rankings[data-columns="1"]')


def test_an_error_of_the_server_is_shown_as_such(opened, server):
    page = opened()
    before = shown(page)
    # Milliseconds beyond 2100: the model itself refuses them, with its message.
    page.evaluate("document.querySelector('#at').removeAttribute('max')")
    with page.expect_response(lambda answer: answer.status == 400, timeout=MILLISECONDS):
        page.fill("#at", "2150-01-01")
    alert = page.locator("#problem")
    alert.wait_for()
    text = alert.inner_text()
    assert text.startswith("The server answered 400: ")
    assert "request_time" in text
    assert "5680281600" in text
    assert alert.get_attribute("role") == "alert"
    assert shown(page) == before  # the last good ranking stays
    change(page, lambda: page.click("#newest"))
    alert.wait_for(state="hidden")
    page.faults[:] = [fault for fault in page.faults if "status of 400" not in fault]


def test_a_server_that_is_gone_is_said(opened):
    page = opened()
    page.context.set_offline(True)
    page.locator("#events input").first.uncheck()
    page.wait_for_selector('#problem:has-text("The server does not answer.")')
    page.faults[:] = [fault for fault in page.faults if "ERR_INTERNET_DISCONNECTED" not in fault]


def test_ids_stay_texts(opened):
    page = opened()
    hostile = "<img src=x onerror=document.title='hit'>"
    page.fill("#add", hostile)
    change(page, lambda: page.click("#add-options li >> nth=-1"))
    assert hostile in page.inner_text("#events li >> nth=0")
    assert page.title() == "Try the model"
    assert "unknown to this model" in page.inner_text("#events li >> nth=0")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_in_both_schemes(opened, scheme):
    """Nothing is wider than the screen, and texts have a contrast of 4.5 (WCAG AA)."""
    page = opened(
        "model=imn/1&with=imn/2&user=ann",
        viewport={"width": 360, "height": 740},
        has_touch=True,
        color_scheme=scheme,
    )
    page.tap("#reasons")
    assert page.locator(".ranking details[open]").count() == 20
    page.locator(".ranking summary").first.tap()
    assert page.locator(".ranking details[open]").count() < 20
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(_CONTRASTS) == []


_CONTRASTS = """() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = parts(color).map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (parts(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const low = [];
  const texts = "h1, h2, h3, h4, .quiet, .title, .weight, .score, .key, time";
  for (const node of document.querySelectorAll(texts))
    if (node.offsetParent) {
      const [one, other] = [light(getComputedStyle(node).color), light(behind(node))];
      const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      if (contrast < 4.5) low.push(`${node.className || node.tagName} ${contrast.toFixed(2)}`);
    }
  return low;
}"""


def test_a_model_that_can_is_asked_for_its_whole_catalogue(opened, server):
    page = opened("model=imn/2&user=ann")
    check_recommended(page, server, 0)
    text = page.inner_text(".ranking")
    assert "the whole catalogue" in text
    assert re.search(r"Place \d+ in the first stage\.", text)


def check_recommended(page, server, side):
    """The ten best of `recommend`, in its order, with the probabilities of `rank`."""
    body = {"signature_name": "recommend", "inputs": history_inputs(k=[10])}
    status, answer = server.http("/v1/models/imn/versions/2:predict", body)
    assert status == 200, answer
    items, scores = shown(page, side)
    assert items == answer["outputs"]["items"][0]
    assert scores == pytest.approx(answer["outputs"]["probabilities"][0], abs=6e-5)
    ranked, _ = expected(server, HISTORY, HISTORY_TIMES, version=2)
    assert scores == pytest.approx([ranked[item] for item in items], abs=6e-5)


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/page/..%2froutes.py", 404, "There is no"),
        ("/page/routes.py", 404, "There is no"),
        ("/imn/other", 404, "There is no /imn/other."),
        ("/imn/users?model=none&version=1", 404, "Served: `imn`"),
        ("/imn/users?model=imn&version=7", 404, "Served: 2, 1."),
        ("/imn/users?model=imn&version=../1", 400, "must be a number"),
        ("/imn/user?model=imn&version=2&id=nobody", 404, "'nobody' has no ratings"),
        ("/imn/items?model=imn&version=2&" + "id=x&" * 301, 400, "At most 300"),
        ("/v1/models/none", 404, "Served: `imn`"),
    ],
)
def test_paths_that_are_refused(server, path, status, says):
    got, text, headers = server.raw(path)
    assert (got, headers["Content-Type"].split(";")[0]) == (status, "application/json")
    assert says in json.loads(text)["error"]


def test_the_page_loads_nothing_of_others(server):
    _, text, headers = server.raw("/")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert b"//" not in text.replace(b"<!-- ", b"")  # no address of another host
