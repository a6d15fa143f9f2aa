import contextlib
import logging
import os
import pathlib
import subprocess
import sys

import pytest

from pipeline.errors import AnomalyError, InputError
from pipeline.local import console
from pipeline.local.memory import PeakMemory

ROOT = pathlib.Path(__file__).resolve().parents[3]


def _wrapped(cause):
    try:
        try:
            raise cause
        except type(cause) as error:
            raise RuntimeError("while running a step") from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (InputError("no such file"), 2, "no such file"),
        (_wrapped(InputError("no such file")), 2, "no such file"),
        (_wrapped(AnomalyError("label: 7")), 4, "label: 7"),
        (ValueError("a\nb"), 1, "ValueError: a"),
    ],
)
def test_what_ended_a_run_becomes_a_status_and_a_line(error, status, says):
    got, reason = console.explain(error)
    assert got == status
    assert says in reason


def test_an_old_python_is_named_in_one_line_with_the_cure():
    (line,) = console.python_age((3, 10))
    assert "Python 3.10" in line
    assert "Ubuntu 24.04 or Debian 13" in line
    assert console.python_age((3, 11)) == console.python_age((3, 13)) == []


def test_each_component_gets_one_line(capsys):
    progress = console.Progress(PeakMemory())
    for message in (
        "Component Trainer is running.",
        "Going to run a new execution 7",
        "Component Trainer is finished.",
        "Component Pusher is running.",
        "A cached execution 3 is used.",
        "Component Pusher is finished.",
    ):
        progress.emit(logging.LogRecord("absl", logging.INFO, "", 0, message, None, None))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].split()[0] == "Trainer"
    assert lines[0].split()[-1] == "s"
    assert lines[1].split() == ["Pusher", "reused"]


def test_descriptors_go_to_the_log_and_python_keeps_the_screen(tmp_path):
    program = (
        "import os, sys\n"
        "from pipeline.local import console\n"
        f"with console.logs_to({str(tmp_path)!r}):\n"
        "    os.system('echo from a child')\n"
        "    os.write(2, b'from C++\\n')\n"
        "    sys.stderr.write('from Python\\n')\n"
        "    console.say('to the person')\n"
        "os.write(1, b'after\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("to the person\nafter\n", "")
    (log,) = os.listdir(tmp_path)
    written = (tmp_path / log).read_text()
    assert all(part in written for part in ("from a child", "from C++", "from Python"))


@pytest.mark.parametrize(
    "message", ["the worker died with <Signals.SIGKILL: 9>", "exit code: -9", "Killed"]
)
def test_a_killed_process_is_said_to_lack_memory(message):
    status, reason = console.explain(RuntimeError(message))
    assert status == console.FAILED
    assert "ran out of memory" in reason
    assert "ran out of memory" not in console.explain(RuntimeError("another"))[1]


def test_a_full_disk_is_named_with_a_cure_in_one_line():
    status, reason = console.explain(RuntimeError("a/b; No space left on device"))
    assert status == console.FAILED
    assert "Free space" in reason
    assert "\n" not in reason


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_disk_that_is_full_at_the_first_write_ends_a_run_in_one_line(tmp_path):
    """The first file of a run, the generated ratings, goes to a device without space."""
    data = tmp_path / "data"
    data.mkdir()
    command = f"ln -s /dev/full {data}/generated_ratings.csv.$$ && exec {sys.executable} "
    done = subprocess.run(
        ["bash", "-c", command + str(ROOT / "local_runner.py")],
        env=os.environ | {"IMN_OUTPUT": str(tmp_path), "IMN_RATINGS": "", "IMN_ITEMS": ""},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (console.FAILED, "")
    (line,) = done.stdout.splitlines()
    assert "No space left on device" in line
    assert "OUTPUT" in line
    assert os.listdir(data) == []


# The status is that of the report, or of the error: nothing is written to the log here.
@pytest.mark.parametrize(
    ("ran", "expected"), [(True, console.REFUSED), (False, console.PUSHED)], ids=["run", "read"]
)
def test_the_status_does_not_depend_on_the_log(tmp_path, ran, expected):
    reports = []

    def report(costs):
        assert costs == {}
        reports.append(1)
        return console.REFUSED

    assert console.run(str(tmp_path), lambda: ran, report) == expected
    assert len(reports) == ran


def test_an_error_after_lines_of_success_is_a_failure(tmp_path, capfd):
    def start():
        logging.getLogger("absl").info("Component Pusher is running.")
        logging.getLogger("absl").info("Component Pusher is finished.")
        raise AnomalyError("label: 7")

    assert console.run(str(tmp_path), start, lambda costs: 1 / 0) == console.ANOMALIES
    assert "Anomalies: label: 7" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("output", "argument"), [("runs", ""), ("./runs/", ""), ("out", " OUTPUT=out")]
)
def test_commands_name_the_output_folder_unless_it_is_the_default(output, argument):
    assert console.make_argument(output) == argument


def test_a_run_that_is_stopped_before_it_starts_or_while_it_ends_says_so(monkeypatch, capsys):
    import local_runner

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(local_runner, "_run", interrupted)
    monkeypatch.setattr(local_runner.output_folder, "locked", contextlib.nullcontext)
    assert local_runner.main() == console.STOPPED
    assert capsys.readouterr().out.startswith("Stopped. ")
