"""A folder that exists and cannot be read is an error, not a folder without models."""

import argparse
import os

import pytest

from pipeline.configs import Settings
from pipeline.errors import InputError
from recommend.__main__ import recommend
from serving import server
from serving.registry import ModelRegistry, names
from serving.versions import versions


@pytest.fixture
def locked(monkeypatch):
    """Folders that only their owner may list; `chmod` would not stop root."""
    folders = set()
    real = os.listdir

    def listdir(path):
        if str(path) in folders:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    return folders


class Model:
    def close(self):
        pass


def test_what_does_not_exist_or_is_a_file_has_no_versions(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("missing", "file"):
        assert versions(str(tmp_path / name)) == []
        assert names(str(tmp_path / name)) == []


def test_a_served_version_stays_and_the_log_says_once_why_none_follows(tmp_path, locked, caplog):
    (tmp_path / "imn" / "1").mkdir(parents=True)
    (tmp_path / "other" / "1").mkdir(parents=True)
    registry = ModelRegistry(str(tmp_path), lambda path: Model())
    registry.poll()
    (tmp_path / "imn" / "2").mkdir()
    (tmp_path / "other" / "2").mkdir()
    locked.add(str(tmp_path / "imn"))
    for _ in range(3):
        registry.poll()
    assert [state.version for state in registry.model("imn").states()] == [1]
    assert registry.model("other").states()[0].version == 2
    assert caplog.text.count("Permission denied") == 1
    locked.clear()
    registry.poll()
    assert registry.model("imn").states()[0].version == 2


def test_a_model_that_cannot_be_read_is_known_but_unavailable(tmp_path, locked):
    (tmp_path / "imn" / "1").mkdir(parents=True)
    locked.add(str(tmp_path / "imn"))
    registry = ModelRegistry(str(tmp_path), lambda path: Model())
    registry.poll()
    assert not registry.model("imn").available


def test_the_server_names_a_folder_that_it_may_not_read(tmp_path, locked, capsys):
    locked.add(str(tmp_path))
    assert server.main(["--models", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "can be read" in message
    assert f"Permission denied: '{tmp_path}'" in message
    assert "make run" not in message


@pytest.mark.parametrize("below", ["serving_model", "serving_model/imn"])
def test_recommend_names_a_folder_that_it_may_not_read(tmp_path, locked, below):
    (tmp_path / "serving_model" / "imn" / "1").mkdir(parents=True)
    locked.add(str(tmp_path / below))
    arguments = argparse.Namespace(user="u", top=1, output=str(tmp_path))
    with pytest.raises(InputError, match=r"must be readable.*Permission denied"):
        next(recommend(arguments, Settings()))
