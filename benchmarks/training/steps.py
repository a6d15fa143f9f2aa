"""Batches in memory, and the timer of a training step on them.

Imports only NumPy, so that other libraries use it in their own environments: all
rows of a table have the same data and the same clock.
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
# More than one, so that a step does not find its rows in the CPU cache.
BATCHES = 3
_MOST_STEPS = 40
_FIRST_ITEM = 2  # after the padding and out-of-vocabulary ids
_TIME_BUCKETS = 14  # buckets of elapsed days, up to 22 years


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One measurement.

    Attributes:
      model: a preset with one candidate for each row; an IMN preset with suffix `_plain`
        (naive form); a preset with suffix `_recipe` (with its extra candidates);
        `floor` (lower bound); or the DIN of another library.
      length: history length L; all histories are full.
      batch_size: rows of a batch, B.
      items: rows of the item table.
      seconds: length of the measurement.
      threads: threads of the process.
      optimizer: `lazy_adam`, or `keras_adam`, which updates whole tables.
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

    Ids are log-uniform: item i has a probability of about 1 / i, so that, as in
    ratings, few items are frequent and most are rare.
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
    """`BATCHES` results of `batch`, with one seed each."""
    return [batch(length, rows, items, seed) for seed in range(BATCHES)]


def timed(step: Callable[[Any], Any], data: Sequence[Any], seconds: float) -> dict[str, Any]:
    """Median time of a step, and peak memory of the process.

    Args:
      step: function of a batch; returns when its work is done.
      data: batches, used in turn.
      seconds: length of the measurement; at least three steps, or two if one takes longer.

    Returns:
      Medians `step_seconds` and `step_cpu_seconds` (sum of all threads) over `steps`
      steps; `peak_memory_mb` of the process; `memory_before_mb`, its peak before the
      first step.
    """
    before = peak_memory_mb()
    step(data[0])  # traces
    taken: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or (time.perf_counter() < end and len(taken) < _MOST_STEPS):
        start, cpu = time.perf_counter(), time.process_time()
        step(data[(len(taken) + 1) % len(data)])
        taken.append((time.perf_counter() - start, time.process_time() - cpu))
        if len(taken) == 2 and taken[-1][0] > seconds:
            break
    # If there are many, the first is left out: it warms up the allocators.
    counted = taken[len(taken) > 3 :]
    return {
        "step_seconds": statistics.median(wall for wall, _ in counted),
        "step_cpu_seconds": statistics.median(cpu for _, cpu in counted),
        "steps": len(counted),
        "peak_memory_mb": peak_memory_mb(),
        "memory_before_mb": before,
    }


def peak_memory_mb() -> int:
    """Peak resident memory of this process in MB.

    Reads `/proc/self/status`, because `ru_maxrss` of a child process starts with the
    peak of its parent.
    """
    with open("/proc/self/status", encoding="ascii") as file:
        match = re.search(r"VmHWM:\s+(\d+) kB", file.read())
    assert match, "`/proc/self/status` must have a line `VmHWM`; this benchmark needs Linux."
    return int(match[1]) >> 10
