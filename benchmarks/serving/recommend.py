"""Latency and memory of `recommend` by size of the catalogue, beside `rank` with 500 candidates.

A client process sends requests over gRPC to the embedded server; both run on this machine and
share its cores. The model is IMN 3P+ with a history of L events, k is 10, and the first stage hands
on 500 items. Weights are untrained: latency does not depend on their values. `session` is
`recommend` in a TensorFlow session without a server.

Example: python -m benchmarks.serving.recommend --output out
"""

import argparse
import os
import pathlib
import tempfile
import time
from typing import Any

# Before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import psutil

from benchmarks import reporting
from benchmarks.serving import exports
from benchmarks.serving.load import ClientProcess, Load
from benchmarks.training import processes
from experiments import machine

ITEMS, LENGTHS = (35_000, 1_000_000, 5_000_000), (100, 1_000)
CANDIDATES, K = 500, 10
_REQUESTS = 8  # distinct requests, sent in turn
_OPEN_SHARE = 0.5  # arrival rate of the open loop over the capacity
_CLIENTS = 2
_WANTED = (1_000_000, 30.0)  # items, and ms of the 99th percentile in a closed loop
_NAME = "imn"


def export(arguments: tuple[str, int, int]) -> None:
    """Writes a SavedModel with a catalogue.

    Args:
      arguments: folder, items and history length.
    """
    import tensorflow as tf
    import tensorflow_transform as tft

    from model import presets
    from model.export.signatures import ServingModule
    from model.ranker import build_ranker
    from model.scorer import DataSpec
    from transforms import features

    folder, items, length = arguments
    with tempfile.TemporaryDirectory() as scratch:
        graph = exports.transform_graph(scratch, length, length)
        # The analysis of millions of items would take longer than all measurements.
        vocabulary = os.path.join(graph, "transform_fn", "assets", features.ITEM_VOCABULARY)
        with open(vocabulary, "wb") as file:
            file.writelines(exports.item(number) + b"\n" for number in range(items))
        config, recipe = presets.resolve("imn_3p_plus", "", {"table_initial_scale": 0.3})
        tf.keras.utils.set_random_seed(0)
        spec = DataSpec(1 + exports.OOV + items, length)
        ranker = build_ranker(config, spec, recipe, retrieval=CANDIDATES)
        ServingModule(ranker, tft.TFTransformOutput(graph)).save(folder)


def session(arguments: tuple[str, int, int, float]) -> list[float]:
    """Milliseconds of each `recommend` in a session of this process.

    Args:
      arguments: folder, items, history length and seconds.
    """
    from serving.model import Model

    folder, items, length, seconds = arguments
    model = Model(folder)
    requests = [inputs for _, inputs in _requests(items, length)]
    taken: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(taken) < 2 * _REQUESTS:
        start = time.perf_counter()
        model.run(model.signatures["recommend"], requests[len(taken) % _REQUESTS], 60)
        taken.append(1_000 * (time.perf_counter() - start))
    return taken[_REQUESTS:]


def _requests(items: int, length: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Inputs of `rank` and of `recommend` for the same users."""
    rng = np.random.default_rng(0)
    result = []
    for _ in range(_REQUESTS):
        rank = exports.rank_inputs(rng, items, CANDIDATES, length)
        history = {name: value for name, value in rank.items() if name != "candidates"}
        result.append((rank, history | {"k": np.array([K], np.int64)}))
    return result


def measure(items: int, length: int, seconds: float, scratch: pathlib.Path) -> list[dict[str, Any]]:
    """Rows of one catalogue and one history length."""
    limit = psutil.virtual_memory().total >> 20
    here = "benchmarks.serving.recommend"
    folder = scratch / f"models_{items}_{length}" / _NAME / "1"
    processes.call(f"{here}:export", (str(folder), items, length), limit)
    base = {"items": items, "history_length": length}
    taken = processes.call(f"{here}:session", (str(folder), items, length, seconds), limit)
    rows = [base | {"method": "session", "loop": "closed", "clients": 1} | _latency(taken)]
    pairs = _requests(items, length)
    with (
        exports.ServerProcess(folder.parents[1], scratch / f"{items}_{length}.log") as server,
        ClientProcess() as client,
    ):
        for index, signature in enumerate(("rank", "recommend")):
            messages = [exports.message(_NAME, signature, pair[index]) for pair in pairs]
            client.run(Load(server.address, messages, 0, clients=1, least=_REQUESTS))  # warms up
            capacity = 0.0
            for clients in (1, _CLIENTS, 0):
                rate = 0.0 if clients else _OPEN_SHARE * capacity
                outcome = client.run(
                    Load(server.address, messages, seconds, clients=clients, rate=rate)
                )
                good = outcome.latency_ms[outcome.status == "OK"]
                capacity = len(good) / outcome.seconds
                rows.append(
                    base
                    | {
                        "method": signature,
                        "loop": "closed" if clients else "open",
                        "clients": clients or None,
                        "requests_per_s": capacity,
                        "errors": int(outcome.sent - len(good)),
                    }
                    | _latency(good.tolist())
                )
                print(rows[-1], flush=True)
        rows[0]["server_mb"] = server.memory_mb()
    return rows


def _latency(taken: list[float]) -> dict[str, Any]:
    p50, p95, p99 = np.percentile(taken, (50, 95, 99)).tolist() if taken else (None,) * 3
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "requests": len(taken)}


def markdown(result: dict[str, Any]) -> str:
    """The table."""
    lines = [
        reporting.line(
            ["items", "L", "request", "loop", "clients", "p50", "p95", "p99", "a second", "MB"]
        ),
        reporting.rule(9),
    ]
    for row in result["rows"]:
        rate = row.get("requests_per_s")
        memory = row.get("server_mb")
        lines.append(
            reporting.line(
                [
                    f"{row['items']:,}",
                    row["history_length"],
                    row["method"],
                    row["loop"],
                    row["clients"] or "-",
                    *(f"{row[name]:.1f} ms" for name in ("p50_ms", "p95_ms", "p99_ms")),
                    "-" if rate is None else f"{rate:.0f}",
                    "-" if memory is None else f"{memory:,.0f}",
                ]
            )
        )
    items, wanted = _WANTED
    targets = [
        {
            "target": f"p99 in ms of `recommend`, closed loop, {items:,} items, L = "
            f"{row['history_length']}",
            "wanted": wanted,
            "measured": row["p99_ms"],
            "at_least": False,
            "met": row["p99_ms"] <= wanted,
        }
        for row in result["rows"]
        if (row["items"], row["method"], row["clients"]) == (items, "recommend", 1)
    ]
    parts = ["# Recommending from a whole catalogue", reporting.conditions(result)]
    return "\n\n".join([*parts, "\n".join(lines), reporting.targets_table(targets)]) + "\n"


def picture(result: dict[str, Any], path: str) -> None:
    """Median and 99th percentile of one client by size of the catalogue."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5))
    for length in LENGTHS:
        rows = [
            row
            for row in result["rows"]
            if (row["history_length"], row["method"], row["clients"]) == (length, "recommend", 1)
        ]
        items = [row["items"] for row in rows]
        (line,) = axes.plot(items, [row["p50_ms"] for row in rows], "o-", label=f"L = {length}")
        axes.plot(items, [row["p99_ms"] for row in rows], "o:", color=line.get_color())
    axes.set_xscale("log")
    axes.set_xlabel("items of the catalogue")
    axes.set_ylabel("ms, p50 and p99 (dotted)")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Runs the benchmark for the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.recommend",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", default="bench_out")
    parser.add_argument("--scratch", help="folder for temporary exports")
    parser.add_argument("--quick", action="store_true", help="L = 100, 5,000 items, few requests")
    parser.add_argument("--items", type=int, nargs="+", default=list(ITEMS))
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    args = parser.parse_args()
    items, lengths, seconds = args.items, args.lengths, 10.0
    if args.quick:
        items, lengths, seconds = [5_000], [100], 1.0
    limit = psutil.virtual_memory().total >> 20
    conditions = machine.describe(os.cpu_count() or 1, limit)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        for count in items:
            for length in lengths:
                rows += measure(count, length, seconds, pathlib.Path(scratch))
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "command": machine.origin("benchmarks.serving.recommend")["command"],
        "machine": conditions,
        "rows": rows,
    }
    reporting.write("recommend", args.output, result, markdown, picture)


if __name__ == "__main__":
    main()
