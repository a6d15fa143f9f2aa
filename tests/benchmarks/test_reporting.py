"""The files and tables of a report."""

import json

from benchmarks import reporting


def test_write_makes_the_folder_and_its_three_files(tmp_path, capsys):
    folder = tmp_path / "new" / "folder"

    def picture(result, path):
        with open(path, "w") as file:
            file.write(str(result["n"]))

    reporting.write("speed", folder, {"n": 3}, lambda result: f"n = {result['n']}\n", picture)
    assert json.loads((folder / "speed.json").read_text()) == {"n": 3}
    assert (folder / "speed.md").read_text() == "n = 3\n"
    assert (folder / "speed.png").read_text() == "3"
    assert "n = 3" in capsys.readouterr().out


def test_a_target_is_met_missed_by_its_gap_or_not_measured():
    def target(name, measured, at_least, met):
        return {
            **{"target": name, "measured": measured, "wanted": 1.3},
            **{"at_least": at_least, "met": met},
        }

    rows = [
        target("fast", 2.0, True, True),
        target("small", 1.55, False, False),
        target("later", None, True, None),
    ]
    assert reporting.targets_table(rows).splitlines() == [
        "| target | wanted | measured |  |",
        "|---|--:|--:|--:|",
        "| fast | ≥ 1.3 | 2.00 | met |",
        "| small | ≤ 1.3 | 1.55 | missed by 0.25 |",
        "| later | ≥ 1.3 |  | not measured |",
    ]
