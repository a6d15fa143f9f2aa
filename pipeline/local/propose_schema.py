"""Proposes a schema of the raw Examples from the training statistics of the last run.

    make schema

A run stops with status 4 where its Examples break the schema. If the data is right, compare the
proposal with the template and copy what you want.
"""

import argparse
import glob
import os
import pathlib
import sys
import warnings

# Silences TensorFlow's import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.simplefilter("ignore", FutureWarning)  # Libraries warn about old Python versions.

from serving import quiet  # noqa: E402

_STATISTICS = (
    "pipeline",
    "*",
    "StatisticsGen",
    "statistics",
    "*",
    "Split-train",
    "FeatureStats.pb",
)


def main(argv: list[str]) -> int:
    """Writes a proposed template and prints its path.

    Returns:
      0, or 2 if there are no statistics of a run.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.local.propose_schema", description=__doc__
    )
    parser.add_argument("--output", default="runs", help="the output folder of the run")
    output = parser.parse_args(argv).output
    found = sorted(glob.glob(os.path.join(output, *_STATISTICS)), key=os.path.getmtime)
    if not found:
        sys.stderr.write(f"There are no statistics under {output}. Run `make run` first.\n")
        return 2
    with quiet.imports():
        from google.protobuf import text_format

        from pipeline import schema
    text = text_format.MessageToString(schema.proposed_schema(found[-1]))
    proposal = pathlib.Path(output, "report", "schema.pbtxt")
    proposal.parent.mkdir(parents=True, exist_ok=True)
    proposal.write_text(text, encoding="utf-8")
    sys.stdout.write(
        f"Proposed from {found[-1]}:\n{proposal}\n"
        f"Compare with {schema.TEMPLATE}, and copy what you want.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
