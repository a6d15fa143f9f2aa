"""What each component depends on, and which edits run it again."""

import pathlib

import pytest

from pipeline import dependencies


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(dependencies, "_ROOT", tmp_path)
    (tmp_path / "model").mkdir()
    write(tmp_path, "model/top.py", "from model import low\n\ndef f():\n    import model.late\n")
    write(tmp_path, "model/low.py", "X = 1\n")
    write(tmp_path, "model/late.py", "Y = 1\n")
    write(tmp_path, "model/other.py", "Z = 1\n")
    return tmp_path


def write(root: pathlib.Path, name: str, text: str) -> None:
    (root / name).write_text(text)


@pytest.mark.parametrize("file", ["top", "low", "late"])
def test_code_that_is_imported_changes_the_digest(project, file):
    before = dependencies.digest("model/top.py")
    with open(project / "model" / f"{file}.py", "a") as source:
        source.write("NEW = 2\n")
    assert dependencies.digest("model/top.py") != before


def test_words_and_other_files_do_not_change_the_digest(project):
    before = dependencies.digest("model/top.py")
    write(project, "model/low.py", '"""A docstring."""\n\n# A comment.\nX   = 1\n')
    write(project, "model/other.py", "Z = 2\n")
    assert dependencies.digest("model/top.py") == before


@pytest.mark.parametrize("package", ["tfx", "tensorflow"])
def test_another_set_of_versions_runs_all_again(project, monkeypatch, package):
    before = dependencies.digest("model/top.py")
    version = dependencies.importlib.metadata.version
    monkeypatch.setattr(
        dependencies.importlib.metadata,
        "version",
        lambda name: "0" if name == package else version(name),
    )
    assert dependencies.digest("model/top.py") != before


def test_a_file_that_is_not_python_counts_with_its_bytes(project):
    write(project, "model/schema.pbtxt", "a")
    before = dependencies.digest("model/schema.pbtxt")
    write(project, "model/schema.pbtxt", "b")
    assert dependencies.digest("model/schema.pbtxt") != before


def test_a_training_of_imn_does_not_depend_on_other_models():
    names = {path.name for path in dependencies.closure("model/trainer.py", "model/imn.py")}
    assert {"imn.py", "ranker.py", "loop.py", "encoder.py", "signatures.py", "features.py"} <= names
    assert not {"mimn.py", "din.py", "presets.py", "pipeline.py"} & names


def test_the_evaluator_depends_on_baseline_and_gate():
    names = {path.name for path in dependencies.closure("pipeline/evaluation/evaluator.py")}
    assert {"baseline.py", "gate.py", "controls.py", "examples.py", "ranking_metrics.py"} <= names
