"""Cost of training by items, history length and rows, and the sizes that fit a machine.

Measures a step of IMN 3P+ with up to five million items, with LazyAdam, which updates
the rows of the batch, and with Keras' Adam, which updates the whole table; with longer
histories; and with input from files of more rows. A linear fit gives the bytes per item
and per event. From these it computes the sizes that fit into 24 GB and the needs of
larger data sets.

Example: python -m benchmarks.scale --output out
"""

import argparse
import math
import os
import pathlib
import sys
import time
from typing import Any

import numpy as np
import psutil

from benchmarks import reporting
from benchmarks.scale import report
from benchmarks.training import processes, steps
from experiments import cache, machine

ITEMS = (100_000, 500_000, 1_000_000, 2_000_000, 5_000_000)
LENGTHS = (100, 500, 1000, 2000)
ROWS = (25_000, 100_000, 200_000)
OPTIMIZERS = ("lazy_adam", "keras_adam")
_LENGTH = 100
_MEMORY_SHARE = 0.9
_BUFFER_EVENTS = 10_000_000  # size of the trainer's shuffle buffer, rows times L
_MACHINE_BYTES = 24 * 2**30
_DAY = 86_400
# Users, items and events as published; the last row is an assumed service.
DATA = (
    ("Amazon Books 2014", 8_026_324, 2_330_066, 22_507_155, 100),
    ("Taobao UserBehavior", 987_994, 4_162_024, 100_150_807, 1000),
    ("Amazon Reviews 2023, all", 54_510_000, 48_190_000, 571_540_000, 100),
    ("a service, 500 events a user", 100_000_000, 300_000_000, 50_000_000_000, 1000),
)
# The defaults: at most 50 targets per user, a positive and a negative row for each.
_TARGETS, _ROWS_PER_TARGET = 50, 2


def main() -> None:
    """Runs the benchmark for the command line."""
    options = _arguments()
    output = pathlib.Path(options.output)
    limit_mb = _MEMORY_SHARE * psutil.virtual_memory().available / 2**20
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "command": "python -m benchmarks.scale " + " ".join(sys.argv[1:]),
        "machine": machine.describe(options.threads, limit_mb),
        "batch_size": steps.BATCH_SIZE,
        "dim": steps.DIM,
        **measure(options, cache.ResultCache(output / "scale_cells"), limit_mb),
    }
    result["constants"] = constants(result)
    result["fits"] = fits(result["constants"])
    result["beyond"] = beyond(result["constants"])
    result["targets"] = targets(result)
    reporting.write("scale", output, result, report.markdown, report.picture)


def measure(
    options: argparse.Namespace, results: cache.ResultCache, limit_mb: float
) -> dict[str, Any]:
    """Measures the rows of three tables: by items, by length, by rows of the files."""
    code = cache.code(
        "benchmarks/scale/*.py",
        "benchmarks/training/steps.py",
        "benchmarks/training/measurements.py",
        "model/**/*.py",
    )

    def step(measurement: steps.Measurement) -> dict[str, Any]:
        name = f"{measurement.optimizer}-{measurement.items}-{measurement.length}"
        run = results.get(
            name,
            [vars(measurement), code],
            lambda: processes.call(
                "benchmarks.training.measurements:measure", measurement, limit_mb
            ),
        )
        return {
            "model": measurement.model,
            "items": measurement.items,
            "history_length": measurement.length,
            "optimizer": measurement.optimizer,
            "examples_per_s": measurement.batch_size / run["step_seconds"],
            **run,
        }

    common: dict[str, Any] = {"seconds": options.seconds, "threads": options.threads}
    by_items = [
        step(steps.Measurement("imn_3p_plus", _LENGTH, items=items, optimizer=optimizer, **common))
        for items in options.items
        for optimizer in OPTIMIZERS
    ]
    by_length = [
        step(steps.Measurement("imn_3p_plus", length, **common)) for length in options.lengths
    ]
    by_rows = []
    for rows in options.rows:
        folder = os.path.join(options.cache, f"full-{_LENGTH}-{rows}")
        argument = {"folder": folder, "length": _LENGTH, "rows": rows}

        def read(argument: dict[str, Any] = argument) -> dict[str, Any]:
            # Another process writes the files; its memory is not measured.
            files, _ = processes.call("benchmarks.training.records:write_full", argument, math.inf)
            source = {"files": files, "length": _LENGTH, "threads": options.threads}
            return processes.call("benchmarks.training.records:from_files", source, limit_mb)

        run = results.get(f"rows-{rows}", [argument, options.threads, code], read)
        by_rows.append({"rows": rows, "history_length": _LENGTH, **run})
    return {"by_items": by_items, "by_length": by_length, "by_rows": by_rows}


def constants(result: dict[str, Any]) -> dict[str, float]:
    """Marginal costs by least squares.

    `base_bytes` is the memory without items and events; `seconds_a_row` is the time of a
    step without events, per row.
    """
    lazy = [row for row in result["by_items"] if row["optimizer"] == "lazy_adam"]
    item, _ = np.polyfit([row["items"] for row in lazy], _peaks(lazy), 1)
    lengths = result["by_length"]
    events = [row["history_length"] * result["batch_size"] for row in lengths]
    event, intercept = np.polyfit(events, _peaks(lengths), 1)
    second, start = np.polyfit(events, [row["step_seconds"] for row in lengths], 1)
    largest = result["by_rows"][-1]
    events_on_disk = largest["rows"] * largest["history_length"]
    # Scales a partly filled buffer to a full one.
    scale = _BUFFER_EVENTS / min(events_on_disk, _BUFFER_EVENTS)
    return {
        "bytes_an_item": float(item),
        "bytes_an_event_of_a_batch": float(event),
        "base_bytes": float(intercept - item * lengths[0]["items"]),
        "buffer_bytes": float(largest["bytes_in_buffer"] * scale),
        "bytes_an_event_on_disk": largest["bytes_on_disk"] / events_on_disk,
        "seconds_an_event": float(second),
        "seconds_a_row": float(max(start, 0) / result["batch_size"]),
    }


def _peaks(rows: list[dict[str, Any]]) -> list[int]:
    return [row["peak_memory_mb"] * 2**20 for row in rows]


def fits(costs: dict[str, float]) -> dict[str, list[dict[str, int]]]:
    """Computes the most items for several L and the longest L for several items, B = 512."""
    room = _MACHINE_BYTES - costs["base_bytes"] - costs["buffer_bytes"]
    event, item = steps.BATCH_SIZE * costs["bytes_an_event_of_a_batch"], costs["bytes_an_item"]
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


def beyond(costs: dict[str, float]) -> list[dict[str, Any]]:
    """Computes the needs of data sets from the measured costs.

    Assumes that a history holds the mean number of events per user, at most L. Time and
    disk count only these events, without padding.
    """
    rows_of_table = []
    for name, users, items, events, length in DATA:
        mean = events / users
        filled = min(mean, length)
        rows = users * min(mean, _TARGETS) * _ROWS_PER_TARGET
        table = items * costs["bytes_an_item"]
        step = steps.BATCH_SIZE * length * costs["bytes_an_event_of_a_batch"]
        memory = costs["base_bytes"] + costs["buffer_bytes"] + step + table
        seconds = rows * (costs["seconds_a_row"] + filled * costs["seconds_an_event"])
        rows_of_table.append(
            {
                "data": name,
                "users": users,
                "items": items,
                "history_length": length,
                "rows": rows,
                "disk_bytes": rows * filled * costs["bytes_an_event_on_disk"],
                "table_bytes": table,
                "memory_bytes": memory,
                "fits": memory <= _MACHINE_BYTES,
                "shards_of_the_table": math.ceil(table / (_MACHINE_BYTES - (memory - table))),
                "epoch_seconds": seconds,
                "machines_for_an_epoch_a_day": math.ceil(seconds / _DAY),
            }
        )
    return rows_of_table


def targets(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Targets with the measured values."""
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
    parser.add_argument("--quick", action="store_true", help="few and small measurements")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds for each measurement")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--output", default="bench_out", help="folder of results and finished measurements"
    )
    parser.add_argument("--cache", default="bench_out/cache", help="folder of generated samples")
    options = parser.parse_args()
    if options.quick:
        options.items, options.lengths, options.rows = [100_000, 1_000_000], [100, 200], [10_240]
        options.seconds = 1.0
    return options


if __name__ == "__main__":
    main()
