"""Compiles the pipeline by the settings of the environment, and runs the package's steps.

    python -m tests.cluster.kubeflow FOLDER [--image IMAGE] [--runs 2] [--ratings FILE]

In containers of IMAGE, which buildah must have, or as processes of this environment. FOLDER gets
the metadata store, the volume and the logs.
"""

import argparse
import os
import pathlib
import shutil
import sys
import time

from pipeline.local import sample_data
from tests.cluster.kubeflow import run
from tests.cluster.kubeflow.workplace import workplace


def main() -> int:
    """Gives 1 if a step failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--image", default="", help="of buildah; without it, processes")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--ratings", type=pathlib.Path, help="a file; otherwise generated")
    arguments = parser.parse_args()
    settings = {name: value for name, value in os.environ.items() if name.startswith("IMN_")}
    with workplace(arguments.folder.absolute(), arguments.image) as place:
        place.cluster.say = lambda line: print(f"  {line}", flush=True)  # noqa: T201
        ratings = place.storage / "ratings"
        ratings.mkdir()
        if arguments.ratings:
            shutil.copy(arguments.ratings, ratings)
        else:
            sample_data.write_ratings(str(ratings / "generated.csv"))
        workflow = place.compiled(**settings)
        for number in range(arguments.runs):
            started = time.monotonic()
            try:
                place.cluster.run(workflow)
            except run.Failed as error:
                print(error, file=sys.stderr)  # noqa: T201
                return 1
            print(f"run {number + 1}: {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
