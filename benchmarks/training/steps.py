"""Batches in memory, and how a step of training on them is timed.

Needs NumPy alone: systems of other libraries are measured by it in environments
of their own, so that all rows of a table have the same data and the same clock.
"""

import dataclasses
import re
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

BATCH_SIZE = 512
DIM = 32
ITEMS = 100_000
# More than one, so that no step finds its rows in the cache because the last one left them.
BATCHES = 3
_MOST_STEPS = 40
_FIRST_ITEM = 2  # after padding and the bucket of what is out of the vocabulary
_TIME_BUCKETS = 14  # of days: up to 22 years


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One measurement.

    Attributes:
      model: a preset, with one candidate a row; a preset of IMN with `_plain`; a
        preset with `_recipe`, which leaves it its extra candidates; `floor`; or
        the DIN of another library.
      length: L; every history is full.
      batch_size: B.
      items: rows of the item table.
      seconds: how long to measure.
      threads: of the process.
      optimizer: `lazy_adam`, or `keras_adam`, which sweeps whole tables.
    """

    model: str
    length: int
    batch_size: int = BATCH_SIZE
    items: int = ITEMS
    seconds: float = 2.0
    threads: int = 1
    optimizer: str = "lazy_adam"


def batch(length: int, rows: int, items: int, seed: int) -> dict[str, np.ndarray]:
    """Transformed samples with full histories: int64 `(rows, length)` and `(rows, 1)`.

    Ids are drawn log-uniformly, item i with probability about 1 / i, so that a
    batch repeats some items often and most of them seldom, as ratings do.
    """
    rng = np.random.default_rng([seed, length, rows])

    def ids(count: int) -> np.ndarray:
        drawn = np.exp(rng.random((rows, count)) * np.log(items - _FIRST_ITEM))
        return np.minimum(drawn.astype(np.int64) - 1 + _FIRST_ITEM, items - 1)

    elapsed = np.sort(rng.integers(0, _TIME_BUCKETS, (rows, length)), axis=1)[:, ::-1]
    return {
        "history_item": ids(length),
        "history_elapsed": np.ascontiguousarray(elapsed),
        "history_length": np.full((rows, 1), length, np.int64),
        "target_item": ids(1),
        "label": rng.integers(0, 2, (rows, 1)),
    }


def batches(length: int, rows: int, items: int) -> list[dict[str, np.ndarray]]:
    """`BATCHES` of `batch`, one seed each."""
    return [batch(length, rows, items, seed) for seed in range(BATCHES)]


def timed(step: Callable[[Any], Any], given: Sequence[Any], seconds: float) -> dict[str, Any]:
    """The median time of a step, and the memory of the process.

    Args:
      step: called with one of `given`; comes back when its work is done.
      given: batches, taken in turn.
      seconds: how long to measure; three steps at least, two if one takes longer.

    Returns:
      `step_seconds`, and `step_cpu_seconds` of all threads together; how many
      `steps` these are medians of; `peak_memory_mb` of the process so far, and
      `memory_before_mb`, its peak before the first step.
    """
    before = peak_memory_mb()
    step(given[0])  # traces
    taken: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or (time.perf_counter() < end and len(taken) < _MOST_STEPS):
        start, cpu = time.perf_counter(), time.process_time()
        step(given[(len(taken) + 1) % len(given)])
        taken.append((time.perf_counter() - start, time.process_time() - cpu))
        if len(taken) == 2 and taken[-1][0] > seconds:
            break
    # The first of many meets cold allocators.
    counted = taken[len(taken) > 3 :]
    return {
        "step_seconds": statistics.median(wall for wall, _ in counted),
        "step_cpu_seconds": statistics.median(cpu for _, cpu in counted),
        "steps": len(counted),
        "peak_memory_mb": peak_memory_mb(),
        "memory_before_mb": before,
    }


def peak_memory_mb() -> int:
    """The largest resident memory of this process so far.

    From the kernel's own page on the process: `ru_maxrss` of a process that was
    started by a larger one begins with the larger one's.
    """
    with open("/proc/self/status", encoding="ascii") as file:
        found = re.search(r"VmHWM:\s+(\d+) kB", file.read())
    assert found, "/proc/self/status has no VmHWM: not Linux?"
    return int(found[1]) >> 10
