"""Latency and stability of the embedded server.

A client process sends requests over gRPC to a server process. Both run on this machine and share
its cores. The requests are `rank` of IMN 3P+, with K candidates and a history of L events. They are
compared with three others: one Example for each candidate (`serving_default`, tiled), `rank` of
DIN, and `rank` in a TensorFlow session without a server.

A soak follows: requests at 80 % of the measured capacity, and two version swaps. Each answer is
checked, and memory is recorded. Weights are untrained. The vocabulary has 50,000 items.

Example: python -m benchmarks.serving --output out
"""

import argparse
import dataclasses
import os
import pathlib
import platform
import tempfile
import time
from typing import Any

# Before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import psutil

from benchmarks import reporting
from benchmarks.serving import exports, figures, report, soak
from benchmarks.serving.figures import DIN, IMN
from benchmarks.serving.load import ClientProcess, Load
from benchmarks.training import processes

_REQUESTS = 8  # distinct requests, sent in turn
_TILED_REQUESTS = 2  # the same for tiled requests, which take megabytes each
_OPEN_SHARE = 0.5  # arrival rate of the open loop over the capacity


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes to measure, and seconds for each row of the table."""

    candidates: tuple[int, ...] = (1, 100, 200, 500, 1000)
    lengths: tuple[int, ...] = (100, 1000)
    items: int = 50_000
    seconds: float = 4.0
    target_seconds: float = 15.0  # for rows with a target
    target: tuple[int, int] = (200, 1000)  # candidates and length, for targets and soak
    soak_minutes: float = 10.0


QUICK = Plan((1, 200), (100,), 5_000, 1.5, 3.0, (200, 100), 0.25)


def main() -> None:
    """Runs the benchmark for the command line."""
    arguments = _parser().parse_args()
    plan = QUICK if arguments.quick else Plan()
    if arguments.soak_minutes is not None:
        plan = dataclasses.replace(plan, soak_minutes=arguments.soak_minutes)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        result = measure(plan, pathlib.Path(scratch))
    reporting.write("serving", arguments.output, result, report.markdown, report.picture)


def measure(plan: Plan, scratch: pathlib.Path) -> dict[str, Any]:
    """Measures rows, ratios and the soak."""
    for length in plan.lengths:
        _log(f"exports, L = {length}")
        folders = {
            str(scratch / "models" / f"{model}_{length}" / "1"): (model, 0) for model in (IMN, DIN)
        }
        if length == plan.target[1]:
            folders[str(scratch / "next")] = (IMN, 1)
        # In its own process: the memory of TensorFlow Transform is freed when it ends.
        limit = psutil.virtual_memory().total >> 20
        processes.call("benchmarks.serving.exports:export", (folders, plan.items, length), limit)
    rows = [_session(plan, scratch, *size) for size in _sizes(plan)]
    options = ("--message-bytes", str(1 << 27), "--seconds", "60")
    with (
        exports.ServerProcess(scratch / "models", scratch / "server.log", *options) as server,
        ClientProcess() as client,
    ):
        for candidates, length in _sizes(plan):
            rows += _rows(plan, server.address, client, candidates, length)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "items": plan.items,
        "rows": rows,
        "ratios": figures.ratios(rows),
        "soak": _soak(plan, scratch) if plan.soak_minutes else None,
    }
    return result | {"targets": figures.targets(result, *plan.target)}


def _sizes(plan: Plan) -> list[tuple[int, int]]:
    return [(candidates, length) for length in plan.lengths for candidates in plan.candidates]


def _session(plan: Plan, scratch: pathlib.Path, candidates: int, length: int) -> dict[str, Any]:
    """Times `rank` in this process: a lower bound of the server's latency."""
    import tensorflow as tf

    from serving.model import Model

    tf.get_logger().setLevel("ERROR")
    model = Model(str(scratch / "models" / f"{IMN}_{length}" / "1"))
    signature = model.signatures["rank"]
    inputs_list = _inputs(plan, candidates, length)
    for inputs in inputs_list:  # warms up
        model.run(signature, inputs, 60)
    times: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < plan.seconds:
        start = time.perf_counter()
        model.run(signature, inputs_list[len(times) % len(inputs_list)], 60)
        times.append(time.perf_counter() - start)
    seconds = time.perf_counter() - begin
    model.close()
    return _row("session", IMN, candidates, length, "closed", 1, np.array(times) * 1000, seconds)


def _rows(
    plan: Plan, address: str, client: ClientProcess, candidates: int, length: int
) -> list[dict[str, Any]]:
    """Measures the server with one number of candidates and one history length."""
    inputs_list = _inputs(plan, candidates, length)
    seconds = plan.target_seconds if (candidates, length) == plan.target else plan.seconds
    rows = []

    def run(method: str, model: str, requests: list[bytes], **options: Any) -> float:
        load = Load(address, requests, **{"seconds": seconds, **options})
        outcome = client.run(load)
        loop = "closed" if load.clients else "open"
        rows.append(
            _row(
                *(method, model, candidates, length, loop, load.clients or None),
                *(outcome.latency_ms[outcome.status == "OK"], outcome.seconds),
            )
            | {"errors": int(np.sum(outcome.status != "OK"))}
        )
        return rows[-1]["requests_per_s"]

    for model in (IMN, DIN):
        name = f"{model}_{length}"
        rank = [exports.message(name, "rank", inputs) for inputs in inputs_list]
        client.run(Load(address, rank, 0, clients=1, least=len(rank)))  # warms up
        run("rank", model, rank, clients=1, least=5)
        if model == IMN:
            capacity = run("rank", model, rank, clients=soak.CLIENTS, least=5)
            run("rank", model, rank, rate=_OPEN_SHARE * capacity)
    tiled = [
        exports.message(f"{IMN}_{length}", "serving_default", exports.tiled_inputs(inputs))
        for inputs in inputs_list[:_TILED_REQUESTS]
    ]
    client.run(Load(address, tiled, 0, clients=1, least=1))
    run("tiled", IMN, tiled, clients=1, least=5)
    return rows


def _inputs(plan: Plan, candidates: int, length: int) -> list[dict[str, np.ndarray]]:
    """Inputs of `_REQUESTS` distinct requests."""
    rng = np.random.default_rng(candidates)
    return [exports.rank_inputs(rng, plan.items, candidates, length) for _ in range(_REQUESTS)]


def _row(
    method: str,
    model: str,
    candidates: int,
    length: int,
    loop: str,
    clients: int | None,
    latency_ms: np.ndarray,
    seconds: float,
) -> dict[str, Any]:
    """A row of the table; logs it too."""
    p50, p95, p99 = (
        np.percentile(latency_ms, (50, 95, 99)).tolist() if len(latency_ms) else (None,) * 3
    )
    row = {
        "method": method,
        "model": model,
        "candidates": candidates,
        "history_length": length,
        "loop": loop,
        "clients": clients,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "requests_per_s": len(latency_ms) / seconds,
        "requests": len(latency_ms),
    }
    _log(
        ", ".join(
            f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()
        )
    )
    return row


def _soak(plan: Plan, scratch: pathlib.Path) -> dict[str, Any]:
    _log(f"soak, {plan.soak_minutes:g} minutes")
    candidates, length = plan.target
    versions = (scratch / "models" / f"{IMN}_{length}" / "1", scratch / "next")
    return soak.run(versions, _inputs(plan, candidates, length), 60 * plan.soak_minutes, scratch)


def _log(text: str) -> None:
    print(text, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default="bench_out", help="folder of the results")
    parser.add_argument("--scratch", help="folder for temporary exports")
    parser.add_argument("--quick", action="store_true", help="small sizes, under two minutes")
    parser.add_argument("--soak-minutes", type=float, help="default 10; 0 skips the soak")
    return parser


if __name__ == "__main__":
    main()
