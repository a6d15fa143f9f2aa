"""What a page keeps of a run, and how a run is found again."""

import json
import os
import shlex

import pytest

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.local.page import __main__ as command_line
from pipeline.local.page import content
from pipeline.local.report_head import changed
from tests.support.pages import page_content


def environment_and_words(command):
    """The variables and the rest of a shell command."""
    words = shlex.split(command)
    count = words.index("make")
    return dict(word.split("=", 1) for word in words[:count]), words[count:]


def test_the_command_makes_the_same_settings_again():
    settings = Settings(
        ratings="/data/my ratings.csv",
        model="din",
        output="runs_din",
        split="leave_last",
        use_time=False,
        columns="user=uid,item=sku,time=at",
        training_seed=3,
        sampling_seed=0,
    )
    run = {"generated": False, "settings": changed(settings)}
    variables, words = environment_and_words(content.command(run, settings))
    short = dict(word.split("=", 1) for word in words[2:])
    assert words[:2] == ["make", "run"]
    # The short forms are those of the Makefile.
    variables |= {f"IMN_{name}": value for name, value in short.items()}
    assert Settings.from_environment(variables) == settings


def test_generated_ratings_are_not_named():
    settings = Settings(ratings="/runs/data/generated_ratings.csv", items="/runs/items.jsonl")
    assert content.command({"generated": True, "settings": {}}, settings) == "make run"


def test_three_bad_lines_of_each_reason(tmp_path):
    lines = [
        {"file": "/data/r.csv", "line": number, "reason": reason, "text": "x" * 1_000}
        for reason, count in (("no user", 5), ("bad time", 1))
        for number in range(1, count + 1)
    ]
    for part in range(2):
        (tmp_path / f"part-{part}.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in lines[part::2])
        )
    found = content.bad_lines(str(tmp_path))
    assert {reason: len(of) for reason, of in found.items()} == {"no user": 3, "bad time": 1}
    assert found["bad time"][0]["place"] == "r.csv, line 1"
    assert len(found["no user"][0]["text"]) == 300
    assert content.bad_lines(str(tmp_path / "none")) == {}


def kept(folder, time, age=0):
    """A run that was kept `age` seconds ago."""
    made = page_content.pushed()
    made["report"]["run"]["time"] = time
    path = content.save(made, str(folder))
    os.utime(path, (1_800_000_000 - age,) * 2)
    return path


def test_the_last_run_of_a_folder_or_a_run_by_its_file(tmp_path):
    first = kept(tmp_path, "2026-11-28 09:59 UTC", age=60)
    assert kept(tmp_path, "2026-11-28 09:59 UTC", age=30) != first
    kept(tmp_path, "2026-11-28 10:00 UTC")
    assert content.load(str(tmp_path))["report"]["run"]["time"] == "2026-11-28 10:00 UTC"
    assert content.load(first)["report"]["run"]["time"] == "2026-11-28 09:59 UTC"


def test_a_run_that_is_none_is_named(tmp_path, capsys):
    with pytest.raises(InputError, match="must be the output folder of a run with a page"):
        content.load(str(tmp_path))
    other = tmp_path / "report.json"
    other.write_text('{"metrics": {}}')
    with pytest.raises(InputError, match="no content of a page"):
        content.load(str(other))
    assert command_line.main(["--output", str(tmp_path), "--new", str(tmp_path / "no.json")]) == 2
    assert "no.json" in capsys.readouterr().err


def test_the_command_line_writes_one_page_or_two_runs(tmp_path, capsys):
    first = kept(tmp_path / "a", "2026-11-28 10:00 UTC")
    kept(tmp_path / "b", "2026-11-28 11:00 UTC")
    assert command_line.main(["--output", str(tmp_path / "b")]) == 0
    assert command_line.main(["--output", str(tmp_path / "b"), "--old", first]) == 0
    one, two = capsys.readouterr().out.split()
    assert one == str(tmp_path / "b" / "report" / "index.html")
    assert two == str(tmp_path / "b" / "report" / "compare.html")
    text = (tmp_path / "b" / "report" / "compare.html").read_text(encoding="utf-8")
    assert "2026-11-28 10:00 UTC" in text
    assert "2026-11-28 11:00 UTC" in text
