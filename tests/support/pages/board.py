"""TensorBoard in a headless Chromium: opens each tab and waits for the charts of a training.

    python -m tests.support.pages.board --logdir runs/pipeline --output docs/tensorboard

makes the pictures of docs/tensorboard.md.
"""

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

from playwright import sync_api

# Debian and Fedora have the first, Ubuntu and Chrome's own package the others.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# What each tab shows for a training of IMN: its address after #, and the names of charts.
TABS = {
    "timeseries&tagFilter=metrics": ("metrics/auc", "metrics/gauc", "metrics/log_loss"),
    "timeseries&tagFilter=loss/": ("loss/cross_entropy", "loss/in_batch_softmax", "loss/total"),
    "timeseries&tagFilter=norm/head": ("gradient_norm/head", "update_norm/head"),
    "timeseries&tagFilter=speed|memory_change": (
        "memory_change/pass_2",
        "speed/examples_per_second",
    ),
    "images": ("attention/user_1", "calibration"),
    "graphs": ("ranker",),
    "histograms": ("attention_entropy/pass_1", "attention_entropy/pass_2"),
    "pr_curves": ("pr_curve",),
    "hparams": ("best/auc", "learning_rate", "imn_"),
    "projector": ("Points", "Label by"),
}
_SECONDS = 60
_DRAWN = 4  # seconds from the names of charts to their lines
# In a container there is no sandbox; the projector needs WebGL, here without a GPU.
_ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def browser() -> str | None:
    """The path of a Chromium; None without one."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextlib.contextmanager
def served(logdir: str) -> Iterator[str]:
    """Runs TensorBoard on a folder; gives its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--port", "0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    try:
        for line in process.stderr:
            if found := re.search(r"(http://localhost:\d+)/", line):
                yield found[1]
                return
        raise RuntimeError(f"TensorBoard ended with status {process.wait()}.")
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def page(width: int = 1400, height: int = 900) -> Iterator[sync_api.Page]:
    """An empty page of a headless Chromium."""
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser(), args=_ARGUMENTS)
        try:
            yield chromium.new_page(viewport={"width": width, "height": height})
        finally:
            chromium.close()


def open_tab(page: sync_api.Page, address: str, tab: str) -> None:
    """Opens a tab of `TABS` and waits until it shows the names of its charts."""
    tab, _, query = tab.partition("&")
    page.goto("about:blank")  # a new address after # alone loads nothing
    page.goto(f"{address}/?darkMode=false&{query}#{tab}")
    for text in TABS[f"{tab}&{query}" if query else tab]:
        end = time.monotonic() + _SECONDS
        while not _shows(page, tab, text):
            if time.monotonic() > end:
                raise TimeoutError(f"The tab {tab} must show {text!r} within {_SECONDS} s.")
            page.wait_for_timeout(200)


def _shows(page: sync_api.Page, tab: str, text: str) -> bool:
    """Whether a frame of the page shows a text: the projector lies in a frame of its own."""
    for frame in page.frames:
        found = frame.get_by_text(text)
        # Playwright takes the nodes of a graph for invisible; they are there once it is drawn.
        if (found if tab == "graphs" else found.locator("visible=true")).count():
            return True
    return False


def main() -> None:
    """Makes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logdir", required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    with served(args.logdir) as address, page() as chromium:
        for tab in TABS:
            open_tab(chromium, address, tab)
            if tab == "images":
                chromium.get_by_text("Show actual image size").click()
            chromium.wait_for_timeout(1000 * _DRAWN)
            name = re.sub("&tagFilter=", "_", tab)
            chromium.screenshot(path=args.output / f"{re.sub('[^a-z]+', '_', name).strip('_')}.png")


if __name__ == "__main__":
    main()
