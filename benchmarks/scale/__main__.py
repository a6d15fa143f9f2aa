"""What training costs as items, rows and histories grow, and what fits into a machine.

A step of IMN 3P+ with up to five million items, by the optimizer that touches
the rows of the batch alone and by Keras' Adam, which sweeps the table; with
longer histories; and reading more and more rows from files. From what these
measure: bytes an item, an event of a batch and a row, and with them, on paper,
what fits into 24 GB and what data beyond that needs.

Example: python -m benchmarks.scale --output out
"""

import argparse
import json
import math
import os
import pathlib
import sys
import time
from typing import Any

import numpy as np
import psutil

from benchmarks.scale import report
from benchmarks.training import processes, steps
from experiments import cache, machine

ITEMS = (100_000, 500_000, 1_000_000, 2_000_000, 5_000_000)
LENGTHS = (100, 500, 1000, 2000)
ROWS = (25_000, 100_000, 200_000)
OPTIMIZERS = ("lazy_adam", "keras_adam")
_LENGTH = 100
_MEMORY_SHARE = 0.9
_BUFFER_PLACES = 10_000_000  # what the trainer's shuffle buffer holds, rows times L
_MACHINE_BYTES = 24 * 2**30
_DAY = 86_400
# Users, items and events as published; for the last, what a service might have.
DATA = (
    ("Amazon Books 2014", 8_026_324, 2_330_066, 22_507_155, 100),
    ("Taobao UserBehavior", 987_994, 4_162_024, 100_150_807, 1000),
    ("Amazon Reviews 2023, all", 54_510_000, 48_190_000, 571_540_000, 100),
    ("a service, 500 events a user", 100_000_000, 300_000_000, 50_000_000_000, 1000),
)
# A positive and a negative row for each target, at most this many targets a user, as by default.
_TARGETS, _ROWS_A_TARGET = 50, 2


def main() -> None:
    """Runs the benchmark for the command line."""
    given = _arguments()
    output = pathlib.Path(given.output)
    output.mkdir(parents=True, exist_ok=True)
    limit_mb = _MEMORY_SHARE * psutil.virtual_memory().available / 2**20
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "command": "python -m benchmarks.scale " + " ".join(sys.argv[1:]),
        "machine": machine.describe(given.threads, limit_mb),
        "batch_size": steps.BATCH_SIZE,
        "dim": steps.DIM,
        **measure(given, cache.ResultCache(output / "scale_cells"), limit_mb),
    }
    result["constants"] = constants(result)
    result["fits"] = fits(result["constants"])
    result["beyond"] = beyond(result["constants"])
    result["targets"] = targets(result)
    (output / "scale.json").write_text(json.dumps(result, indent=1) + "\n")
    (output / "scale.md").write_text(report.markdown(result))
    report.picture(result, str(output / "scale.png"))
    print(report.markdown(result))


def measure(given: argparse.Namespace, cells: cache.ResultCache, limit_mb: float) -> dict[str, Any]:
    """Rows of three tables: by items, by lengths, by rows of the files."""
    code = cache.code(
        "benchmarks/scale/*.py",
        "benchmarks/training/steps.py",
        "benchmarks/training/measurements.py",
        "model/**/*.py",
    )

    def step(cell: steps.Measurement) -> dict[str, Any]:
        name = f"{cell.optimizer}-{cell.items}-{cell.length}"
        run = cells.get(
            name,
            [vars(cell), code],
            lambda: processes.call("benchmarks.training.measurements:measure", cell, limit_mb),
        )
        return {
            "model": cell.model,
            "items": cell.items,
            "history_length": cell.length,
            "optimizer": cell.optimizer,
            "examples_per_s": cell.batch_size / run["step_seconds"],
            **run,
        }

    common: dict[str, Any] = {"seconds": given.seconds, "threads": given.threads}
    by_items = [
        step(steps.Measurement("imn_3p_plus", _LENGTH, items=items, optimizer=optimizer, **common))
        for items in given.items
        for optimizer in OPTIMIZERS
    ]
    by_length = [
        step(steps.Measurement("imn_3p_plus", length, **common)) for length in given.lengths
    ]
    by_rows = []
    for rows in given.rows:
        folder = os.path.join(given.cache, f"full-{_LENGTH}-{rows}")
        argument = {"folder": folder, "length": _LENGTH, "rows": rows}

        def read(argument: dict[str, Any] = argument) -> dict[str, Any]:
            # Written by another process, whose memory is not measured.
            files, _ = processes.call("benchmarks.training.records:write_full", argument, math.inf)
            told = {"files": files, "length": _LENGTH, "threads": given.threads}
            return processes.call("benchmarks.training.records:from_files", told, limit_mb)

        run = cells.get(f"rows-{rows}", [argument, given.threads, code], read)
        by_rows.append({"rows": rows, "history_length": _LENGTH, **run})
    return {"by_items": by_items, "by_length": by_length, "by_rows": by_rows}


def constants(result: dict[str, Any]) -> dict[str, float]:
    """What one more costs, by least squares over what was measured.

    `base_bytes` is what is left of a process without items and events, and
    `seconds_a_row` of a step's time without events, by row.
    """
    lazy = [row for row in result["by_items"] if row["optimizer"] == "lazy_adam"]
    item, _ = np.polyfit([row["items"] for row in lazy], _peaks(lazy), 1)
    lengths = result["by_length"]
    events = [row["history_length"] * result["batch_size"] for row in lengths]
    event, without = np.polyfit(events, _peaks(lengths), 1)
    second, start = np.polyfit(events, [row["step_seconds"] for row in lengths], 1)
    largest = result["by_rows"][-1]
    places = largest["rows"] * largest["history_length"]
    # Fewer rows than the buffer holds leave it part empty; it is taken to be full.
    full = _BUFFER_PLACES / min(places, _BUFFER_PLACES)
    return {
        "bytes_an_item": float(item),
        "bytes_an_event_of_a_batch": float(event),
        "base_bytes": float(without - item * lengths[0]["items"]),
        "buffer_bytes": float(largest["bytes_in_buffer"] * full),
        "bytes_an_event_on_disk": largest["bytes_on_disk"] / places,
        "seconds_an_event": float(second),
        "seconds_a_row": float(max(start, 0) / result["batch_size"]),
    }


def _peaks(rows: list[dict[str, Any]]) -> list[int]:
    return [row["peak_memory_mb"] * 2**20 for row in rows]


def fits(of: dict[str, float]) -> dict[str, list[dict[str, int]]]:
    """On paper: the most items for some L, and the longest L for some items, batch 512."""
    room = _MACHINE_BYTES - of["base_bytes"] - of["buffer_bytes"]
    event, item = steps.BATCH_SIZE * of["bytes_an_event_of_a_batch"], of["bytes_an_item"]
    return {
        "most_items": [
            {"history_length": length, "items": int((room - length * event) / item)}
            for length in (100, 1000, 5000, 10_000)
        ],
        "longest_history": [
            {"items": items, "history_length": int((room - items * item) / event)}
            for items in (100_000, 1_000_000, 5_000_000, 25_000_000)
        ],
    }


def beyond(of: dict[str, float]) -> list[dict[str, Any]]:
    """On paper: what data sets need, from the constants of one machine.

    A user's histories are taken to hold as many events as the user has, at most L;
    time and disk count filled places only.
    """
    found = []
    for name, users, items, events, length in DATA:
        mean = events / users
        filled = min(mean, length)
        rows = users * min(mean, _TARGETS) * _ROWS_A_TARGET
        table = items * of["bytes_an_item"]
        step = steps.BATCH_SIZE * length * of["bytes_an_event_of_a_batch"]
        memory = of["base_bytes"] + of["buffer_bytes"] + step + table
        seconds = rows * (of["seconds_a_row"] + filled * of["seconds_an_event"])
        found.append(
            {
                "data": name,
                "users": users,
                "items": items,
                "history_length": length,
                "rows": rows,
                "disk_bytes": rows * filled * of["bytes_an_event_on_disk"],
                "table_bytes": table,
                "memory_bytes": memory,
                "fits": memory <= _MACHINE_BYTES,
                "shards_of_the_table": math.ceil(table / (_MACHINE_BYTES - (memory - table))),
                "epoch_seconds": seconds,
                "machines_for_an_epoch_a_day": math.ceil(seconds / _DAY),
            }
        )
    return found


def targets(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What was aimed at beside what was measured."""
    lazy = [row for row in result["by_items"] if row["optimizer"] == "lazy_adam"]
    largest, smallest = lazy[-1], lazy[0]
    return [
        {
            "target": f"memory with {largest['items']:,} items and the optimizer's slots, GB",
            "measured": largest["peak_memory_mb"] * 2**20 / 1e9,
            "wanted": 3.0,
            "at_least": False,
            "met": largest["peak_memory_mb"] * 2**20 < 3e9,
        },
        {
            "target": f"time of a step with {largest['items']:,} items over that with "
            f"{smallest['items']:,}",
            "measured": largest["step_seconds"] / smallest["step_seconds"],
            "wanted": 1.2,
            "at_least": False,
            "met": largest["step_seconds"] <= 1.2 * smallest["step_seconds"],
        },
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", nargs="+", type=int, default=list(ITEMS))
    parser.add_argument("--lengths", nargs="+", type=int, default=list(LENGTHS))
    parser.add_argument("--rows", nargs="+", type=int, default=list(ROWS))
    parser.add_argument("--quick", action="store_true", help="few and small ones")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured in a cell")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--output", default="bench_out", help="folder of results, finished cells")
    parser.add_argument("--cache", default="bench_out/cache", help="folder of written samples")
    given = parser.parse_args()
    if given.quick:
        given.items, given.lengths, given.rows = [100_000, 1_000_000], [100, 200], [10_240]
        given.seconds = 1.0
    return given


if __name__ == "__main__":
    main()
