"""Writes the page of a run again, or one page about two runs.

    make report                                     the last run of OUTPUT
    make report OLD=runs_din NEW=runs_imn           two runs side by side

A run is an output folder, whose last run is taken, or a file of an earlier run below
`report/runs/` there.
"""

import argparse
import os
import sys

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.local.page import content, pages

PAGE, COMPARISON = "index.html", "compare.html"


def main(argv: list[str] | None = None) -> int:
    """Runs the command line. Returns the exit status: 2 for a mistake of the user."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.local.page", description="Writes the page of a run, or of two."
    )
    add = parser.add_argument
    add("--output", default=Settings.output, help="output folder; the page goes to its `report`")
    add("--old", default="", help="a run to compare with")
    add("--new", default="", help="the run to show; by default the last one of the output folder")
    arguments = parser.parse_args(argv)
    try:
        new = content.load(arguments.new or arguments.output)
        old = content.load(arguments.old) if arguments.old else None
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    name, page = (PAGE, pages.of_run(new)) if old is None else (COMPARISON, pages.of_two(old, new))
    path = os.path.join(arguments.output, "report", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)
    sys.stdout.write(f"{os.path.abspath(path)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
