"""A soak test: load near capacity for minutes, two version swaps, each answer checked."""

import itertools
import pathlib
import shutil
import time
from typing import Any

import numpy as np

from benchmarks.serving import exports
from benchmarks.serving.load import ClientProcess, Load, Outcome

CLIENTS = 4  # of the closed loop that measures the capacity
_SHARE = 0.8  # arrival rate over the capacity


def run(
    versions: tuple[pathlib.Path, pathlib.Path],
    inputs_list: list[dict[str, np.ndarray]],
    seconds: float,
    scratch: pathlib.Path,
) -> dict[str, Any]:
    """Runs an open loop; pushes the second export after a third, the first after two thirds.

    Args:
      versions: two exports whose scores differ.
      inputs_list: inputs of `rank`, sent in turn.
      seconds: length of the soak.
      scratch: temporary folder for the served models.

    Returns:
      Result of `summary`.
    """
    from serving.model import Model

    requests = [exports.message("imn", "rank", inputs) for inputs in inputs_list]
    expected = {}
    for version, folder in enumerate((*versions, versions[0]), 1):
        model = Model(str(folder))
        rank = model.signatures["rank"]
        scores = [model.run(rank, inputs, 60)["scores"][0] for inputs in inputs_list]
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
    """Copies an export and renames the copy, like the Pusher."""
    shutil.copytree(export, folder / f".pushing-{version}")
    (folder / f".pushing-{version}").rename(folder / str(version))


def summary(
    capacity: float,
    rate: float,
    outcome: Outcome,
    memory: list[tuple[float, float]],
    swaps: list[float],
) -> dict[str, Any]:
    """Summarizes a soak from its outcome, memory `(second, MB)` and seconds of the swaps."""
    correct = outcome.status == "OK"
    kinds, counts = np.unique(outcome.status[~correct], return_counts=True)
    versions, answered = np.unique(outcome.version[correct], return_counts=True)
    at, megabytes = np.array(memory).T
    # A swap holds two versions for a moment, and allocators keep that memory. So each phase
    # before, between and after the swaps has its own level and growth.
    levels, growths = [], []
    for begin, end in itertools.pairwise((0.0, *swaps, at[-1] + 1)):
        steady = (at > begin + (end - begin) / 4) & (at < end)
        levels.append(float(np.median(megabytes[steady])))
        growths.append(float(60 * np.polyfit(at[steady], megabytes[steady], 1)[0]))
    percentiles = np.percentile(outcome.latency_ms[correct], (50, 95, 99)).tolist()
    return {
        "seconds": outcome.seconds,
        "capacity_per_s": capacity,
        "rate_per_s": rate,
        "sent": outcome.sent,
        "answered": int(correct.sum()),
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
