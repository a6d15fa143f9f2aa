"""Takes the picture of a page for the documentation: light, dark and on a phone.

It shows sections without paths of the machine.

    python -m pipeline.local.page.picture runs docs/report.png

Needs Playwright and Chromium.
"""

import io
import pathlib
import shutil
import sys
from typing import Any

_SIZE, _PHONE = (1000, 1150), (390, 1150)


def main(argv: list[str]) -> int:
    """Writes the picture of the last page of an output folder."""
    output, picture = argv
    from PIL import Image
    from playwright import sync_api

    page_file = pathlib.Path(output, "report", "index.html").resolve().as_uri()
    views: tuple[Any, ...] = (
        (_SIZE, "light", "#scores"),
        (_SIZE, "dark", "#attention"),
        (_PHONE, "light", "#metrics"),
    )
    shots = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for (width, height), scheme, section in views:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            page = context.new_page()
            page.goto(page_file)
            page.wait_for_function("document.documentElement.dataset.drawn")
            page.evaluate("key => document.querySelector(key).scrollIntoView()", section)
            page.wait_for_timeout(300)
            shots.append(Image.open(io.BytesIO(page.screenshot())))
        browser.close()
    gap = 12
    width = sum(shot.width for shot in shots) + gap * (len(shots) - 1)
    whole = Image.new("RGB", (width, shots[0].height), "#808080")
    left = 0
    for shot in shots:
        whole.paste(shot, (left, 0))
        left += shot.width + gap
    whole.resize((width // 2, whole.height // 2), Image.Resampling.LANCZOS).quantize(
        256, Image.Quantize.FASTOCTREE
    ).save(picture, optimize=True)
    sys.stdout.write(f"{picture}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
