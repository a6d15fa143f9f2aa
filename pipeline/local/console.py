"""The screen of a local run: one line for each component, and the reason if it stops early.

The logs of TFX, Beam and TensorFlow go to a file in the output folder. The screen shows Python's
`sys.stdout` only.
"""

import contextlib
import datetime
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator

from pipeline.errors import AnomalyError, InputError
from pipeline.local import beam_errors
from pipeline.local.memory import Cost, PeakMemory, processor_seconds

PUSHED, FAILED, BAD_INPUT, REFUSED, ANOMALIES, STOPPED = 0, 1, 2, 3, 4, 130

_EVENT = re.compile(r"Component (\S+) is (running|finished)\.")
_KILLED = re.compile(r"SIGKILL|exit code:? -9|[Kk]illed|terminated abruptly|died with.*9")
_OF_A_JOB = "failed in state FAILED"  # as Beam ends the message of a portable runner's job
_FULL = re.compile("No space left on device|Disk quota exceeded")
# The lines of pipeline.ingest.summary and pipeline.items.summary.
_OF_INGESTION = ("Read: ", "Samples: ", "Items: ", "Look: ")
_CACHED = "A cached execution"


def say(text: str = "") -> None:
    """Writes a line to the screen."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def stopped() -> int:
    """Says that the user stopped the run; gives the exit status."""
    say("Stopped. Run the same command again to continue from here.")
    return STOPPED


def make_argument(output: str) -> str:
    """What a `make` command needs to find an output folder; "" for the default one."""
    default = os.path.abspath(output) == os.path.abspath("runs")
    return "" if default else f" OUTPUT={output}"


def python_age(version: tuple[int, int] = sys.version_info[:2]) -> list[str]:
    """What to say of an old Python at the start of a run: a line with the cure, or none.

    It takes the place of the warnings of libraries, which are silenced.
    """
    if version > (3, 10):
        return []
    return [
        f"Python {version[0]}.{version[1]} and its set of libraries get no more fixes. On Ubuntu "
        "24.04 or Debian 13, `make` takes the current set, with the same results (docs/stack.md)."
    ]


class Progress(logging.Handler):
    """Turns the log of TFX's local runner into one line for each component, with its time.

    This is for the screen and the report only: the exit status does not depend on the log.

    Args:
      memory: reads the memory of the run.

    Attributes:
      costs: time and memory of each component that ran, by its id.
    """

    def __init__(self, memory: PeakMemory) -> None:
        super().__init__(logging.INFO)
        self._component, self._start, self._cached = "", 0.0, False
        self._processor = 0.0
        self._memory = memory
        self.costs: dict[str, Cost] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Ignores all records but the start and end of a component, and lines of ingestion."""
        message = record.getMessage()
        if message.startswith(_CACHED):
            self._cached = True
        if message.startswith(_OF_INGESTION):
            say(f"    {message}")
        event = _EVENT.fullmatch(message)
        if not event:
            return
        component, state = event.groups()
        if state == "running":
            self._component, self._start, self._cached = component, time.monotonic(), False
            self._processor = processor_seconds()
            self._memory.restart()
            if sys.stdout.isatty():
                sys.stdout.write(f"  … {component}\r")
                sys.stdout.flush()
        else:
            seconds = time.monotonic() - self._start
            if not self._cached:
                took = processor_seconds() - self._processor
                self.costs[component] = Cost(seconds, self._memory.peak_mb(), took)
            self.end("reused" if self._cached else f"{seconds:.1f} s")

    def end(self, outcome: str) -> None:
        """Ends the line of the running component, if there is one."""
        if self._component:
            say(f"  {self._component:<20} {outcome:>10}")
        self._component = ""


@contextlib.contextmanager
def logs_to(folder: str) -> Iterator[str]:
    """Redirects both standard descriptors and `sys.stderr` to a new log file.

    `sys.stdout` still goes to the screen.

    Yields:
      the path of the log.
    """
    os.makedirs(folder, exist_ok=True)
    name = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    path = os.path.join(folder, f"{name}-{os.getpid()}.log")
    sys.stdout.flush()
    screen, errors = os.dup(1), os.dup(2)
    stdout, stderr = sys.stdout, sys.stderr
    with open(path, "w", buffering=1, encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        sys.stdout = os.fdopen(os.dup(screen), "w", buffering=1, encoding="utf-8")
        sys.stderr = log
        try:
            yield path
        finally:
            sys.stdout.close()
            sys.stdout, sys.stderr = stdout, stderr
            os.dup2(screen, 1)
            os.dup2(errors, 2)
            os.close(screen)
            os.close(errors)


def run(output: str, start: Callable[[], bool], report: Callable[[dict[str, Cost]], int]) -> int:
    """Runs a pipeline and prints the outcome.

    Args:
      output: the folder of the run; logs go to its subfolder `logs`.
      start: builds and runs the pipeline; returns whether a component ran. Some `tfx` commands
        only read the pipeline.
      report: prints the report and returns the exit status; its argument is `Progress.costs`. It
        is called after a run only.

    Returns:
      the exit status: 0 pushed or served already, 2 bad input, 3 refused by the
      gate, 4 anomalies in the data, 130 stopped by the user, 1 for anything else.
    """
    from absl import logging as absl_logging

    with (
        logs_to(os.path.join(output, "logs")) as log,
        beam_errors.collected() as job_errors,
        PeakMemory() as memory,
    ):
        progress = Progress(memory)
        absl_logging.use_absl_handler()
        absl_logging.set_verbosity(absl_logging.INFO)
        absl_logging.set_stderrthreshold("info")
        absl_logging.get_absl_logger().addHandler(progress)
        try:
            return report(progress.costs) if start() else PUSHED
        except KeyboardInterrupt:
            progress.end("stopped")
            return stopped()
        except Exception as error:
            progress.end("failed")
            traceback.print_exc()
            status, reason = explain(error)
            if _OF_A_JOB in reason:
                reason += f"\nThe job said: {beam_errors.reason(job_errors)}"
            say(reason if status != FAILED else f"{reason}\nThe log has the details: {log}")
            return status
        finally:
            absl_logging.get_absl_logger().removeHandler(progress)


def explain(error: BaseException) -> tuple[int, str]:
    """The exit status and the reason for an error that ended a run."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, InputError):
            return BAD_INPUT, f"Input: {link}"
        if isinstance(link, AnomalyError):
            return ANOMALIES, f"Anomalies: {link}"
        link = link.__cause__ or link.__context__
    last = str(error).strip().splitlines() or [""]
    reason = f"Failed: {type(error).__name__}: {last[0]}"
    if _FULL.search(str(error)):
        reason += ". Free space, or give an OUTPUT on another disk, and run the same command again."
    if _KILLED.search(str(error)):
        reason += (
            "\nA process was killed, most likely because the machine ran out of memory. Lower "
            "IMN_BATCH_SIZE or the number of workers in IMN_BEAM_ARGS, or give it more memory."
        )
    return FAILED, reason
