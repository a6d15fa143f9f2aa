"""requirements/setup.sh in a small project of its own, with a lock of three packages."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "reference.txt"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "requirements").mkdir()
    shutil.copy(ROOT / "requirements" / "setup.sh", folder / "requirements")
    shutil.copy(ROOT / ".python-version", folder)
    (folder / "setup.py").write_text("import setuptools\nsetuptools.setup()\n")
    (folder / "pyproject.toml").write_text('[project]\nname = "small"\nversion = "1"\n')
    pins = [pin for pin in LOCK.read_text().split() if re.match("(uv|setuptools|wheel)==", pin)]
    (folder / "requirements" / "reference.txt").write_text("\n".join(pins) + "\n")
    return folder


def setup(folder, **environment):
    return subprocess.run(
        ["/bin/bash", "requirements/setup.sh"],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_installs_once_and_again_only_for_another_lock(project):
    done = setup(project)
    assert done.returncode == 0, done.stderr
    assert "Setting up" in done.stdout
    made = (project / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    assert setup(project).stdout == ""
    assert (project / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == made
    lock = project / "requirements" / "reference.txt"
    lock.write_text(lock.read_text() + "six==1.17.0\n")
    assert "Setting up" in setup(project).stdout
    assert subprocess.run([project / ".venv/bin/python", "-c", "import six"]).returncode == 0


def test_one_that_was_cut_off_is_made_again(project):
    (project / ".venv" / ".lock").unlink()
    assert "Setting up" in setup(project, PYTHONDONTWRITEBYTECODE="1").stdout
    assert (project / ".venv" / ".lock").exists()
    # Compiled once, and not by every process anew.
    [packages] = (project / ".venv" / "lib").glob("python*/site-packages")
    assert list((packages / "setuptools" / "__pycache__").glob("dist.*.pyc"))


def test_where_no_python_is_to_be_had_it_says_what_to_install(project, tmp_path):
    for tool in ("bash", "cat", "cut", "sha256sum", "rm", "pwd", "dirname", "grep"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    lock = project / "requirements" / "reference.txt"
    lock.write_text(lock.read_text() + "# changed\n")
    done = setup(project, PATH=str(tmp_path))
    assert done.returncode == 1
    assert "Python 3.10 is needed" in done.stderr
    assert not (project / ".venv").exists()
