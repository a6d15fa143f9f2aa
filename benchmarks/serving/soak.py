"""A soak: load near the capacity for minutes, versions swapped under it, every answer checked."""

import itertools
import pathlib
import shutil
import time
from typing import Any

import numpy as np

from benchmarks.serving import exports
from benchmarks.serving.load import ClientProcess, Load, Outcome

CLIENTS = 4  # that keep the server busy
_SHARE = 0.8  # of the capacity


def run(
    versions: tuple[pathlib.Path, pathlib.Path],
    asked: list[dict[str, np.ndarray]],
    seconds: float,
    scratch: pathlib.Path,
) -> dict[str, Any]:
    """Open loop at a share of the capacity; the second export, then the first again, are pushed.

    Args:
      versions: two exports whose scores differ.
      asked: inputs of `rank`, sent in turn.
      seconds: how long.
      scratch: a folder for what is served.

    Returns:
      what was sent and what came of it, latencies, and the server's memory.
    """
    from serving.model import Model

    requests = [exports.message("imn", "rank", inputs) for inputs in asked]
    expected = {}
    for version, folder in enumerate((*versions, versions[0]), 1):
        model = Model(str(folder))
        scores = [model.run(model.signatures["rank"], each, 60)["scores"][0] for each in asked]
        expected[version] = np.stack(scores)
        model.close()
    folder = scratch / "soak" / "imn"
    push(versions[0], folder, 1)
    with (
        exports.ServerProcess(folder.parent, scratch / "soak.log") as server,
        ClientProcess() as client,
    ):
        warm = Load(server.address, requests, min(10, seconds), clients=CLIENTS)
        capacity = len(client.run(warm).latency_ms) / warm.seconds
        rate = _SHARE * capacity
        client.start(Load(server.address, requests, seconds, rate=rate, expected=expected))
        begin = time.monotonic()
        memory: list[tuple[float, float]] = []
        swaps: list[float] = []
        while (now := time.monotonic() - begin) < seconds:
            memory.append((now, server.memory_mb()))
            if len(swaps) < 2 and now > (len(swaps) + 1) * seconds / 3:
                push(versions[1 - len(swaps)], folder, len(swaps) + 2)
                swaps.append(now)
            time.sleep(min(1.0, seconds / 60))
        outcome = client.outcome()
    return summary(capacity, rate, outcome, memory, swaps)


def push(export: pathlib.Path, folder: pathlib.Path, version: int) -> None:
    """As the pusher does: whole, or not at all."""
    shutil.copytree(export, folder / f".pushing-{version}")
    (folder / f".pushing-{version}").rename(folder / str(version))


def summary(
    capacity: float,
    rate: float,
    outcome: Outcome,
    memory: list[tuple[float, float]],
    swaps: list[float],
) -> dict[str, Any]:
    """Counts of a soak, from its outcome, the memory `(second, MB)` and the times of swaps."""
    right = outcome.status == "OK"
    kinds, counts = np.unique(outcome.status[~right], return_counts=True)
    versions, answered = np.unique(outcome.version[right], return_counts=True)
    at, megabytes = np.array(memory).T
    # A swap holds two versions for a moment, and allocators keep what they once needed: a level
    # before, between and after the swaps, and how it grows within each.
    levels, growths = [], []
    for begin, end in itertools.pairwise((0.0, *swaps, at[-1] + 1)):
        steady = (at > begin + (end - begin) / 4) & (at < end)
        levels.append(float(np.median(megabytes[steady])))
        growths.append(float(60 * np.polyfit(at[steady], megabytes[steady], 1)[0]))
    percentiles = np.percentile(outcome.latency_ms[right], (50, 95, 99)).tolist()
    return {
        "seconds": outcome.seconds,
        "capacity_per_s": capacity,
        "rate_per_s": rate,
        "sent": outcome.sent,
        "answered": int(right.sum()),
        "errors": dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
        "lost": outcome.sent - len(outcome.status),
        "answered_by_version": dict(
            zip(map(str, versions.tolist()), answered.tolist(), strict=True)
        ),
        "swaps_at_s": swaps,
        "client_late_ms": outcome.late_ms,
        **dict(zip(("p50_ms", "p95_ms", "p99_ms"), percentiles, strict=True)),
        "memory_levels_mb": levels,
        "memory_growths_mb_per_minute": growths,
        "memory_peak_mb": float(megabytes.max()),
        "memory": [[round(second, 1), round(size, 1)] for second, size in memory],
    }
