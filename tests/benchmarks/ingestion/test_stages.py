"""Times of parts, by a clock that the test turns; and the command."""

import subprocess
import sys
import types

from benchmarks.ingestion import stages, timers


def test_a_part_is_not_charged_for_the_parts_that_it_calls(monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(timers.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(timers.time, "thread_time", lambda: clock.now / 2)

    def passes(seconds):
        clock.now += seconds

    module = types.SimpleNamespace()

    def inner():
        passes(2)

    def outer():
        passes(1)
        module.inner()
        module.inner()
        passes(4)

    module.inner, module.outer = inner, outer
    timed = timers.Timers()
    timed.time("inside", module, "inner")
    timed.time("outside", module, "outer")
    passes(100)  # in no part
    module.outer()
    passes(100)
    module.inner()
    assert timed.seconds == {"inside": 6, "outside": 5}
    assert timed.cpu == {"inside": 3, "outside": 2.5}


def test_two_processes_are_compared_by_the_busier_one():
    def run(seconds, *cpu):
        return {"working_seconds": seconds, "cpu_seconds_of_workers": list(cpu)}

    workers = {"1": [run(10, 8)] * 3, "2": [run(5, 4, 2), run(4, 3, 4), run(99, 4, 4)]}
    assert stages.one_over_two(workers) == (10 / 5, 8 / 4)


def test_help():
    command = [sys.executable, "-m", "benchmarks.ingestion.stages", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--quick" in done.stdout
