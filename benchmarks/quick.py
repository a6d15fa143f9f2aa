"""The quick form of the benchmarks of speed, on generated ratings: `make bench`.

It shows that the benchmarks run and how the jobs compare; figures to quote come
from the full forms on real ratings.
"""

import argparse
import os
import subprocess
import sys

from pipeline.local import sample_data

# Each benchmark with the arguments that make it quick, and whether it reads ratings.
BENCHMARKS = {
    "ingestion": (["--rows", "100000", "--repeats", "1"], True),
    "ingestion.stages": (["--quick"], True),
    "serving": (["--quick"], False),
    "training": (["--quick"], False),
    "scale": (["--quick"], False),
}


def main() -> int:
    """Runs one benchmark after the other; gives the first exit status that is not 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__)
    parser.add_argument("--output", default="bench_out", help="folder of the results")
    output = parser.parse_args().output
    ratings = os.path.join(output, "generated_ratings.csv")
    sample_data.write_ratings(ratings)
    for name, (arguments, reads) in BENCHMARKS.items():
        given = ["--ratings", ratings] * reads
        command = [sys.executable, "-m", f"benchmarks.{name}", "--output", output]
        status = subprocess.run([*command, *given, *arguments]).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
