"""Draws docs/page.png: the page that tries a model, in the Chromium of this machine.

    make serve &
    .venv/bin/python docs/page_picture.py --user A3PTS6TQRA89LP

Without `--user` it shows any user. `--dark`, `--width` and `--compare` draw other forms.
"""

import argparse
import json
import urllib.parse
import urllib.request

from playwright import sync_api

CHROMIUM = "/usr/bin/chromium"


def main():
    """Draws the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--server", default="http://127.0.0.1:8501")
    parser.add_argument("--model", default="imn")
    parser.add_argument("--compare", default="", help="MODEL/VERSION on the right")
    parser.add_argument("--user", default="")
    parser.add_argument("--leave-out", type=int, default=0, help="newest events to leave out")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=820)
    parser.add_argument("--output", default="docs/page.png")
    arguments = parser.parse_args()
    with urllib.request.urlopen(f"{arguments.server}/imn/models") as answer:
        versions = {row["name"]: row["versions"][0] for row in json.load(answer)["models"]}
    chosen = {"model": f"{arguments.model}/{versions[arguments.model]}"}
    chosen |= {"with": arguments.compare} if arguments.compare else {}
    chosen |= {"user": arguments.user} if arguments.user else {}
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": arguments.width, "height": arguments.height},
            color_scheme="dark" if arguments.dark else "light",
        )
        page.goto(f"{arguments.server}/#{urllib.parse.urlencode(chosen)}")
        page.wait_for_selector(".ranking li")
        for number in range(arguments.leave_out):
            with page.expect_response("**:predict"):
                page.locator("#events input[type=checkbox]").nth(number).uncheck()
        page.wait_for_timeout(1_000)  # until nothing moves any more
        page.screenshot(path=arguments.output)
        browser.close()


if __name__ == "__main__":
    main()
