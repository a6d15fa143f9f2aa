"""Runs a command with a cluster on this machine, in `IMN_BEAM_ARGS`, and stops the cluster.

    python -m tests.cluster workers make run      # Beam's job server, two worker pools
    python -m tests.cluster flink make run        # a Flink session cluster

Without a command it prints the options and runs until Ctrl-C.
"""

import argparse
import contextlib
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile

from tests.cluster import flink, processes


def main() -> int:
    """Gives the exit status of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cluster", choices=["workers", "flink"])
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    # `kill` and `timeout` must stop the cluster too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        start = processes.two_workers if arguments.cluster == "workers" else flink.cluster
        try:
            with start(work) as (_, options):
                given = shlex.join(options)
                print(f"IMN_BEAM_ARGS={shlex.quote(given)}", flush=True)  # noqa: T201
                if arguments.command:
                    environment = os.environ | {"IMN_BEAM_ARGS": given}
                    return subprocess.run(arguments.command, env=environment).returncode
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
                return 0
        except flink.NotServed as error:
            print(f"A part of the cluster cannot be fetched: {error}", file=sys.stderr)  # noqa: T201
            return 2


if __name__ == "__main__":
    sys.exit(main())
