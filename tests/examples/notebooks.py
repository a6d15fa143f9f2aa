"""Runs a notebook as a user does, in a kernel of its own."""

import json

import nbclient
import nbformat

from tests.support.commands import PROJECT

TOUR = PROJECT / "examples" / "tour.ipynb"


def run(path, answer, seconds=300):
    """Runs all cells, and one more that prints `answer`, an expression, as JSON.

    Returns:
      the notebook with its outputs, and the value of `answer`.
    """
    notebook = nbformat.read(path, as_version=4)
    last = max(n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    asked = nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({answer}))")
    notebook.cells.insert(last + 1, asked)
    nbclient.NotebookClient(
        notebook,
        timeout=seconds,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    (output,) = asked.outputs
    return notebook, json.loads(output.text)
