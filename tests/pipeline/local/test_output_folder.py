"""The folder of a run: one run at a time, leftovers, and a metadata file that cannot be used."""

import os
import sqlite3
import subprocess
import sys

import pytest

from pipeline.errors import InputError
from pipeline.local import output_folder

HOLDER = """
import sys
from pipeline.local import output_folder
with output_folder.locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_stops_at_once_and_names_the_first(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=f"in use by process {holder.pid}"):  # noqa: SIM117
        with output_folder.locked(str(tmp_path)):
            pass
    holder.kill()
    holder.wait()
    with output_folder.locked(str(tmp_path)):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_what_a_killed_run_left_is_removed(tmp_path):
    examples = tmp_path / "pipeline" / "imn" / "RatingsExampleGen" / "examples" / "3"
    (examples / "spill").mkdir(parents=True)
    (examples / "spill" / "events-00000").write_text("x")
    (examples / "Split-train").mkdir()
    with output_folder.locked(str(tmp_path)):
        assert [path.name for path in examples.iterdir()] == ["Split-train"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="`output` must be a folder"):  # noqa: SIM117
        with output_folder.locked(str(tmp_path / "file")):
            pass


def test_a_metadata_file_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(output_folder, "_WAIT_SECONDS", 0.1)
    path = str(tmp_path / "metadata.db")
    output_folder.check_metadata(path)
    assert not os.path.exists(path)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE Type (id INTEGER)")
    connection.commit()
    output_folder.check_metadata(path)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(InputError, match=r"metadata\.db cannot be used \(database is locked\)"):
        output_folder.check_metadata(path)
    connection.rollback()
    connection.close()
    with open(path, "r+b") as file:
        file.write(b"no database at all" * 10)
    with pytest.raises(InputError, match=r"cannot be used \(file is not a database\)\. Restore"):
        output_folder.check_metadata(path)
