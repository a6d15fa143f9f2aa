"""Latency and stability of the embedded server.

A client process sends requests over gRPC to a server process on the same machine;
they share its cores. `rank` with K candidates and histories of L events is compared
with one Example for each candidate (`serving_default`, tiled), with DIN, and with
the TensorFlow session without a server. A soak follows: 80 % of the measured
capacity, two version swaps, each answer checked, memory recorded. Weights are
untrained; the vocabulary has 50,000 items.

Example: python -m benchmarks.serving --output out
"""

import argparse
import dataclasses
import multiprocessing
import os
import pathlib
import platform
import tempfile
import time
from typing import Any

# Before TensorFlow is imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks import reporting
from benchmarks.serving import exports, report, soak
from benchmarks.serving.load import ClientProcess, Load

MODEL, OTHER = "imn_3p_plus", "din"
_DIFFERENT = 8  # distinct requests, sent in turn
_TILED = 2  # the same for tiled requests, which are megabytes
_OPEN_SHARE = 0.5  # arrival rate of the open loop over the capacity
_LONG_SECONDS = 300  # shorter soaks do not measure the growth of memory


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes to measure, and seconds for each row of the table."""

    candidates: tuple[int, ...] = (1, 100, 200, 500, 1000)
    lengths: tuple[int, ...] = (100, 1000)
    items: int = 50_000
    seconds: float = 4.0
    target_seconds: float = 15.0  # for rows with a target
    target: tuple[int, int] = (200, 1000)  # candidates and length of targets and soak
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
            str(scratch / "models" / f"{model}_{length}" / "1"): (model, 0)
            for model in (MODEL, OTHER)
        }
        if length == plan.target[1]:
            folders[str(scratch / "next")] = (MODEL, 1)
        # In its own process, which frees the memory of TensorFlow Transform at its end.
        process = multiprocessing.get_context("spawn").Process(
            target=exports.export, args=(folders, plan.items, length)
        )
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit("An export failed; its error is above.")
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
        "ratios": _ratios(rows),
        "soak": _soak(plan, scratch) if plan.soak_minutes else None,
    }
    return result | {"targets": _targets(plan, result)}


def _sizes(plan: Plan) -> list[tuple[int, int]]:
    return [(k, length) for length in plan.lengths for k in plan.candidates]


def _session(plan: Plan, scratch: pathlib.Path, candidates: int, length: int) -> dict[str, Any]:
    """Times `rank` in this process: a lower bound of the server's latency."""
    import tensorflow as tf

    from serving.model import Model

    tf.get_logger().setLevel("ERROR")
    model = Model(str(scratch / "models" / f"{MODEL}_{length}" / "1"))
    signature = model.signatures["rank"]
    inputs_list = _inputs(plan, candidates, length)
    for inputs in inputs_list:
        model.run(signature, inputs, 60)
    times: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < plan.seconds:
        start = time.perf_counter()
        model.run(signature, inputs_list[len(times) % len(inputs_list)], 60)
        times.append(time.perf_counter() - start)
    seconds = time.perf_counter() - begin
    model.close()
    return _row("session", MODEL, candidates, length, "closed", 1, np.array(times) * 1000, seconds)


def _rows(
    plan: Plan, address: str, client: ClientProcess, candidates: int, length: int
) -> list[dict[str, Any]]:
    """Measures the server with one K and L."""
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

    for model in (MODEL, OTHER):
        name = f"{model}_{length}"
        rank = [exports.message(name, "rank", inputs) for inputs in inputs_list]
        client.run(Load(address, rank, 0, clients=1, least=len(rank)))  # warm
        run("rank", model, rank, clients=1, least=5)
        if model == MODEL:
            capacity = run("rank", model, rank, clients=soak.CLIENTS, least=5)
            run("rank", model, rank, rate=_OPEN_SHARE * capacity)
    tiled = [
        exports.message(f"{MODEL}_{length}", "serving_default", exports.tiled_inputs(inputs))
        for inputs in inputs_list[:_TILED]
    ]
    client.run(Load(address, tiled, 0, clients=1, least=1))
    run("tiled", MODEL, tiled, clients=1, least=5)
    return rows


def _inputs(plan: Plan, candidates: int, length: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(candidates)
    return [exports.rank_inputs(rng, plan.items, candidates, length) for _ in range(_DIFFERENT)]


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


def _ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians of one client over the median of IMN's `rank`, for each K and L."""
    medians = {
        (row["method"], row["model"], row["candidates"], row["history_length"]): row["p50_ms"]
        for row in rows
        if row["clients"] == 1
    }
    return [
        {
            "candidates": candidates,
            "history_length": length,
            "tiled": medians["tiled", MODEL, candidates, length] / rank,
            "din": medians["rank", OTHER, candidates, length] / rank,
            "session": medians["session", MODEL, candidates, length] / rank,
        }
        for (method, model, candidates, length), rank in medians.items()
        if (method, model) == ("rank", MODEL)
    ]


def _soak(plan: Plan, scratch: pathlib.Path) -> dict[str, Any]:
    _log(f"soak, {plan.soak_minutes:g} minutes")
    candidates, length = plan.target
    versions = (scratch / "models" / f"{MODEL}_{length}" / "1", scratch / "next")
    return soak.run(versions, _inputs(plan, candidates, length), 60 * plan.soak_minutes, scratch)


def _targets(plan: Plan, result: dict[str, Any]) -> list[dict[str, Any]]:
    """Compares the result with the targets."""
    candidates, length = plan.target

    def find(rows: list[dict[str, Any]], size: int, **wanted: Any) -> dict[str, Any] | None:
        wanted |= {"candidates": size, "history_length": length}
        return next((row for row in rows if wanted.items() <= row.items()), None)

    targets = []

    def target(name: str, value: float, limit: str, met: bool) -> None:
        targets.append({"target": name, "measured": value, "wanted": limit, "met": met})

    imn = {"method": "rank", "model": MODEL}
    for loop in ({"clients": 1}, {"loop": "open"}):
        if row := find(result["rows"], candidates, **imn, **loop):
            name = f"p99 at K = {candidates}, L = {length}, {row['loop']} loop, ms"
            target(name, row["p99_ms"], "at most 30", row["p99_ms"] <= 30)
    if ratio := find(result["ratios"], 500):
        name = f"times as long by tiling, K = 500, L = {length}"
        target(name, ratio["tiled"], "at least 10", ratio["tiled"] >= 10)
    if soak_result := result["soak"]:
        errors = sum(soak_result["errors"].values())
        target("errors in the soak", errors, "0", not errors)
        target("lost requests in the soak", soak_result["lost"], "0", not soak_result["lost"])
        if soak_result["seconds"] >= _LONG_SECONDS:
            growth = max(soak_result["memory_growths_mb_per_minute"])
            target("growth of memory between swaps, MB a minute", growth, "at most 2", growth <= 2)
    return targets


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
