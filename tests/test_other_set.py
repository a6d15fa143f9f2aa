"""requirements/test_other_set.sh on machines that cannot test the other set: one line, status 0."""

import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOOLS = (
    "bash",
    "cut",
    "dirname",
    "df",
    "tail",
    "mkdir",
    "mktemp",
    "rm",
    "sed",
    "timeout",
    "cat",
    "grep",
)


@pytest.fixture
def run(tmp_path):
    """Runs the script in a project of its own, with few commands on its path."""
    (tmp_path / "bin").mkdir()
    for name in TOOLS:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    (tmp_path / "requirements").mkdir()
    shutil.copy(ROOT / "requirements" / "test_other_set.sh", tmp_path / "requirements")

    def command(name, text):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    def call(*arguments, user=0, stack="reference", debootstrap=True, folder="debian", inside=""):
        (tmp_path / ".venv").mkdir(exist_ok=True)
        (tmp_path / ".venv" / ".lock").write_text(f"{stack} 3.10 0123\n")
        command("id", f"echo {user}")
        if debootstrap:
            command("debootstrap", "exit 1")
        script = tmp_path / "requirements" / "debian13.sh"
        script.write_text(f"#!/bin/sh\nshift\n{inside or 'exit 1'}\n")
        script.chmod(0o755)
        environment = {"PATH": str(tmp_path / "bin"), "IMN_DEBIAN13": str(tmp_path / folder)}
        (tmp_path / folder / "srv" / "imn" / ".venv").mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            ["bash", "requirements/test_other_set.sh", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.mark.parametrize(
    ("seconds", "machine", "why"),
    [
        ("4000", {"stack": "current"}, "this machine has the current set"),
        ("4000", {"user": 1000}, "a Debian 13 folder needs root"),
        ("4000", {"debootstrap": False}, "a Debian 13 folder needs debootstrap"),
        ("500", {}, "500 seconds are left"),
        ("4000", {"inside": "echo no mounts here; exit 32"}, "(no mounts here)"),
    ],
)
def test_what_a_machine_cannot_do_is_one_line_and_no_failure(run, seconds, machine, why):
    done = run(seconds, **machine)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("The other set is not tested: ")
    assert why in line


def test_directories_that_fail_are_shown_and_fail(run):
    inside = 'case "$*" in *serving*) echo broken; exit 1;; *) echo "2 passed";; esac'
    done = run("4000", inside=inside)
    assert done.returncode == 1
    assert "Other set, tests/end_to_end: 2 passed, 0 s." in done.stdout
    assert "Other set, tests/serving: failed.\nbroken\n" in done.stdout
    assert "Other set, tests/pipeline/evaluation: 2 passed" in done.stdout


def test_a_test_that_passes_when_it_is_repeated_alone_is_named(run):
    inside = """case "$*" in *setup*) ;; *last-failed*) echo "1 passed";;
      *serving*) echo "FAILED tests/serving/test_a.py"; exit 1;; *) echo "2 passed";; esac"""
    done = run("4000", inside=inside)
    assert done.returncode == 0
    assert "passed when repeated alone:\nFAILED tests/serving/test_a.py\n" in done.stdout
    assert "Other set, tests/serving: 1 passed" in done.stdout


def test_it_needs_the_seconds_that_are_left(run):
    done = run()
    assert done.returncode == 2
    assert "Usage: requirements/test_other_set.sh SECONDS" in done.stderr
