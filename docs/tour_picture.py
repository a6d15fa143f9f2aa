"""Draws docs/tour.png: runs examples/tour.ipynb and keeps its figure.

    .venv/bin/python docs/tour_picture.py OUTPUT

OUTPUT is the output folder of a run.
"""

import base64
import os
import pathlib
import sys

import nbclient
import nbformat

DOCS = pathlib.Path(__file__).resolve().parent


def main(output):
    """Runs all cells, and writes the one picture that they show."""
    os.environ["TOUR_OUTPUT"] = os.path.abspath(output)
    folder = DOCS.parent / "examples"
    notebook = nbformat.read(folder / "tour.ipynb", as_version=4)
    nbclient.NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    outputs = [each for cell in notebook.cells for each in cell.get("outputs", [])]
    (picture,) = (each.data["image/png"] for each in outputs if "image/png" in each.get("data", {}))
    (DOCS / "tour.png").write_bytes(base64.b64decode(picture))


if __name__ == "__main__":
    main(*sys.argv[1:])
