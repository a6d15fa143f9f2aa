"""A copy of the project with a small file of ratings, and the real commands in it."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

from pipeline.local import sample_data

PROJECT = pathlib.Path(__file__).resolve().parents[2]
TFX = pathlib.Path(sys.executable).with_name("tfx")
PACKAGES = ("pipeline", "model", "transforms", "serving")
# Enough to learn something in seconds; what is judged here is the machinery.
SETTINGS = {
    "IMN_OUTPUT": "out",
    "IMN_RATINGS": "ratings.csv",
    "IMN_MAX_HISTORY_LENGTH": "20",
    "IMN_MODEL_OPTIONS": "embedding_dim=8",
    "IMN_EPOCHS": "1",
    "IMN_MIN_AUC": "0.3",
    "IMN_MIN_GAUC": "0.3",
    "IMN_TOLERANCE": "0.5",
    "IMN_REQUIRE_CALIBRATED": "false",
}


def copy_project(folder: pathlib.Path) -> None:
    """Copies the project, and generates `ratings.csv` and `items.jsonl`."""
    for package in PACKAGES:
        shutil.copytree(
            PROJECT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in ("local_runner.py", "kubeflow_runner.py", "setup.py"):
        shutil.copy(PROJECT / file, folder)
    ratings, items = str(folder / "ratings.csv"), str(folder / "items.jsonl")
    sample_data.write_ratings(ratings, users=250, items=600, catalogue=items)


def call(project, command, **settings):
    """Runs a command in the copy with `SETTINGS` and further ones."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IMN_")}
    environment |= SETTINGS | settings
    environment["PATH"] = f"{TFX.parent}{os.pathsep}{environment['PATH']}"
    environment |= {"LOCAL_HOME": str(project / "out" / "tfx"), "KUBEFLOW_HOME": str(project / "k")}
    return subprocess.run(
        [str(part) for part in command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def run(project, **settings):
    """Runs the pipeline in the copy."""
    return call(project, [sys.executable, "local_runner.py"], **settings)


def outcomes(done):
    """What each component's line of a run ends with: `reused`, a time, `failed`."""
    found = re.findall(r"^  (\w+) +(reused|failed|[\d.]+ s)$", done.stdout, re.MULTILINE)
    return dict(found)


def versions(project):
    """Names of the pushed versions."""
    folder = project / "out" / "serving_model" / "imn"
    return sorted(os.listdir(folder)) if folder.exists() else []
