"""What the measurements of benchmarks.training come to: rows, ratios, exponents, targets."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.training import steps

OURS, PLAIN, RECIPE, FLOOR = "imn_3p_plus", "imn_3p_plus_plain", "imn_3p_plus_recipe", "floor"
PEERS = {"deepctr_din": "deepctr", "fuxictr_din": "fuxictr"}
REAL_LENGTH = 1000
_EXPONENT_FROM = 200


def row(model: str, length: int, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A row of the table: of the runs of a cell the fastest."""
    best = min(runs, key=lambda run: run["step_seconds"] / run["batch_size"])
    size = best["batch_size"]
    fits = size == steps.BATCH_SIZE
    return {
        "model": model,
        "history_length": length,
        # At the batch size of the table, or not at all.
        "examples_per_s": size / best["step_seconds"] if fits else None,
        "peak_memory_mb": max(run["peak_memory_mb"] for run in runs) if fits else None,
        "memory_before_mb": min(run["memory_before_mb"] for run in runs),
        "out_of_memory": not fits,
        "largest_batch": size,
        "examples_per_s_at_largest_batch": size / best["step_seconds"],
        "cpu_seconds_an_example": min(run["step_cpu_seconds"] for run in runs) / size,
        "runs_examples_per_s": [run["batch_size"] / run["step_seconds"] for run in runs],
    }


def ratios(rows: Sequence[dict[str, Any]], clock: str = "wall") -> dict[str, float]:
    """Examples a second of IMN 3P+ over every other row's, and the floor's over its own.

    With `clock` `cpu`, examples a second of processor time: what the ratio rests on
    where other work ran beside, though not what a user waits for.
    """
    speed = {
        (row["model"], row["history_length"]): row["examples_per_s"]
        and (row["examples_per_s"] if clock == "wall" else 1 / row["cpu_seconds_an_example"])
        for row in rows
    }
    found = {}
    for (model, length), other in speed.items():
        ours = speed.get((OURS, length))
        if model == OURS or not ours or not other:
            continue
        if model == FLOOR:
            found[f"{FLOOR} / {OURS} @ {length}"] = other / ours
        else:
            found[f"{OURS} / {model} @ {length}"] = ours / other
    return found


def exponents(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The exponents of time and of peak memory against L, by least squares on logarithms.

    From `_EXPONENT_FROM` on, over the lengths that fit into memory: below, what a
    step costs whatever the length still counts. `memory_of_steps` leaves out what
    the process held before its first step.
    """
    found = {}
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [
            row
            for row in rows
            if row["model"] == model
            and row["history_length"] >= _EXPONENT_FROM
            and not row["out_of_memory"]
        ]
        if len(own) < 2:
            continue
        lengths = [row["history_length"] for row in own]
        values = {
            "time": [1 / row["examples_per_s"] for row in own],
            "memory": [row["peak_memory_mb"] for row in own],
            "memory_of_steps": [
                max(row["peak_memory_mb"] - row["memory_before_mb"], 1) for row in own
            ],
        }
        found[model] = {name: slope(lengths, of) for name, of in values.items()}
    return found


def slope(lengths: Sequence[float], values: Sequence[float]) -> float:
    """The exponent p of the best `values = c * lengths ** p`."""
    return float(np.polyfit(np.log(lengths), np.log(values), 1)[0])


def targets(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What was aimed at beside what was measured; None where it was not."""
    found: list[dict[str, Any]] = []

    def aim(name: str, measured: float | None, wanted: float, at_least: bool) -> None:
        met = None if measured is None else (measured >= wanted) == at_least or measured == wanted
        found.append(
            {
                "target": name,
                "measured": measured,
                "wanted": wanted,
                "at_least": at_least,
                "met": met,
            }
        )

    of = result["ratios"]
    aim("IMN 3P+ over its plain form, L = 1000", of.get(f"{OURS} / {PLAIN} @ 1000"), 4, True)
    for length, wanted in ((100, 2.0), (500, 5.0), (1000, 5.0)):
        against = [of.get(f"{OURS} / {peer} @ {length}") for peer in PEERS]
        measured = min([ratio for ratio in against if ratio], default=None)
        aim(f"IMN 3P+ over the faster DIN of another library, L = {length}", measured, wanted, True)
    aim("the floor over IMN 3P+, L = 1000", of.get(f"{FLOOR} / {OURS} @ 1000"), 1.3, False)
    own = result["exponents"].get(OURS, {})
    aim("exponent of time in L", own.get("time"), 1.05, False)
    aim("exponent of memory in L", own.get("memory"), 1.05, False)
    real = result.get("real_lengths")
    aim(
        f"IMN 3P+ over its plain form, lengths of the ratings padded to {REAL_LENGTH}",
        real and real["ratio"],
        10,
        True,
    )
    for row in result.get("input_pipeline", []):
        name = f"TFRecords over memory less 1, L = {row['history_length']}, {row['lengths']}"
        aim(name, row["overhead"], 0.1, False)
    return found
