"""The notebook as a file; tests/end_to_end/test_attributes.py runs it on the output of a run."""

import re

import nbformat

from tests.examples.notebooks import TOUR
from tests.support.commands import PROJECT

NOTEBOOK = nbformat.read(TOUR, as_version=4)


def test_it_is_committed_without_outputs():
    nbformat.validate(NOTEBOOK)
    for cell in NOTEBOOK.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), cell.source
        assert cell.metadata == {}, cell.source


def test_its_first_cell_says_how_to_run_it_and_names_files_that_exist():
    said = NOTEBOOK.cells[0].source
    assert "make run" in said
    assert "%pip install" in said
    for name in ("current", "reference"):
        assert (PROJECT / "requirements" / f"{name}.txt").exists()
        assert f"{name}.txt" in said
    for cell in NOTEBOOK.cells:
        for page in re.findall(r"`(docs/[\w/.]+)`", cell.source):
            assert (PROJECT / page).exists(), page
