"""requirements/setup.sh in a small project of its own, with a lock of three packages."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# The set of the tests' own Python, which is surely here.
STACK = "reference" if sys.version_info[:2] == (3, 10) else "current"
LOCK = ROOT / "requirements" / f"{STACK}.txt"


def pin(name):
    """The lines of a package in the lock, with its hashes."""
    return re.search(rf"^{name}==(.*\\\n)*.*\n", LOCK.read_text(), re.MULTILINE)[0]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "requirements").mkdir()
    shutil.copy(ROOT / "requirements" / "setup.sh", folder / "requirements")
    shutil.copy(ROOT / ".python-version", folder)
    (folder / "setup.py").write_text("import setuptools\nsetuptools.setup()\n")
    (folder / "pyproject.toml").write_text('[project]\nname = "small"\nversion = "1"\n')
    pins = [pin(name) for name in ("uv", "setuptools", "wheel")]
    (folder / "requirements" / f"{STACK}.txt").write_text("".join(pins))
    return folder


def setup(folder, **environment):
    return subprocess.run(
        ["/bin/bash", "requirements/setup.sh"],
        cwd=folder,
        env=os.environ | {"IMN_STACK": STACK} | environment,
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
    lock = project / "requirements" / f"{STACK}.txt"
    lock.write_text(lock.read_text() + pin("six"))
    assert "Setting up" in setup(project).stdout
    assert subprocess.run([project / ".venv/bin/python", "-c", "import six"]).returncode == 0


def test_one_that_was_cut_off_is_made_again(project):
    (project / ".venv" / ".lock").unlink()
    assert "Setting up" in setup(project, PYTHONDONTWRITEBYTECODE="1").stdout
    assert (project / ".venv" / ".lock").exists()
    # Compiled once, and not by every process anew.
    [packages] = (project / ".venv" / "lib").glob("python*/site-packages")
    assert list((packages / "setuptools" / "__pycache__").glob("dist.*.pyc"))


@pytest.mark.parametrize(
    ("glibc", "pythons", "asked", "chosen"),
    [
        ("2.41", ["3.13"], "", "Python 3.13 and requirements/current.txt, because glibc is 2.41"),
        ("2.39", ["3.11", "3.12"], "", "Python 3.12 and requirements/current.txt"),
        ("2.36", ["3.13"], "", "requirements/reference.txt, because the C library is 2.36"),
        ("2.41", [], "", "requirements/reference.txt, because there is no Python 3.11 to 3.13"),
        ("2.41", ["3.13"], "reference", "reference.txt, because IMN_STACK says so"),
        (
            "2.36",
            ["3.11"],
            "current",
            "Python 3.11 and requirements/current.txt, because IMN_STACK",
        ),
    ],
)
def test_the_machine_chooses_the_set(project, tmp_path, glibc, pythons, asked, chosen):
    """With a `getconf` and Pythons that only tell their version: nothing is installed."""
    tools = ("bash", "cat", "cut", "sha256sum", "rm", "pwd", "dirname", "grep", "sort", "head")
    for tool in tools:
        (tmp_path / tool).symlink_to(shutil.which(tool))
    scripts = {"getconf": f"echo glibc {glibc}"}
    for version in pythons:
        scripts[f"python{version}"] = f'[ "$1" = --version ] && echo Python {version}'
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    for stack in ("reference", "current"):
        (project / "requirements" / f"{stack}.txt").touch()
    (project / ".venv" / ".lock").unlink(missing_ok=True)
    done = setup(project, PATH=str(tmp_path), IMN_STACK=asked)
    assert chosen in done.stdout


def test_a_package_with_another_hash_is_refused(project):
    lock = project / "requirements" / f"{STACK}.txt"
    good = lock.read_text()
    wrong = re.sub("sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, pin("six"))
    lock.write_text(good.replace(pin("six"), wrong))
    done = setup(project)
    lock.write_text(good)
    assert done.returncode != 0
    assert "hash" in done.stderr.lower()


def test_where_no_python_is_to_be_had_it_says_what_to_install(project, tmp_path):
    for tool in ("bash", "cat", "cut", "sha256sum", "rm", "pwd", "dirname", "grep"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    lock = project / "requirements" / f"{STACK}.txt"
    lock.write_text(lock.read_text() + "# changed\n")
    done = setup(project, PATH=str(tmp_path))
    assert done.returncode == 1
    assert re.search(r"Python 3\.1\d is needed", done.stderr)
    assert not (project / ".venv").exists()
