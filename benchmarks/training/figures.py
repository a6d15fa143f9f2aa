"""Rows, ratios, exponents and targets of the training benchmark."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.training import steps

OURS, PLAIN, RECIPE, FLOOR = "imn_3p_plus", "imn_3p_plus_plain", "imn_3p_plus_recipe", "floor"
PEERS = {"deepctr_din": "deepctr", "fuxictr_din": "fuxictr"}
REAL_LENGTH = 1000
_EXPONENT_FROM = 200


def row(model: str, length: int, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A row of the table: the fastest run of a model and length."""
    best = min(runs, key=lambda run: run["step_seconds"] / run["batch_size"])
    size = best["batch_size"]
    fits = size == steps.BATCH_SIZE
    return {
        "model": model,
        "history_length": length,
        # None if the batch size of the table does not fit into memory.
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
    """Ratios of examples/s: IMN 3P+ over each other row, lower bound over IMN 3P+.

    `clock` is `wall`, or `cpu` for examples per CPU second, which depends less on other
    work on the machine.
    """
    speed = {
        (row["model"], row["history_length"]): row["examples_per_s"]
        and (row["examples_per_s"] if clock == "wall" else 1 / row["cpu_seconds_an_example"])
        for row in rows
    }
    result = {}
    for (model, length), other in speed.items():
        ours = speed.get((OURS, length))
        if model == OURS or not ours or not other:
            continue
        if model == FLOOR:
            result[f"{FLOOR} / {OURS} @ {length}"] = other / ours
        else:
            result[f"{OURS} / {model} @ {length}"] = ours / other
    return result


def exponents(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Exponents of L for time and peak memory, by least squares on logarithms.

    Uses lengths from `_EXPONENT_FROM` on that fit into memory: at shorter lengths, fixed
    costs dominate. `memory_of_steps` excludes the memory before the first step.
    """
    result = {}
    for model in dict.fromkeys(row["model"] for row in rows):
        selected = [
            row
            for row in rows
            if row["model"] == model
            and row["history_length"] >= _EXPONENT_FROM
            and not row["out_of_memory"]
        ]
        if len(selected) < 2:
            continue
        lengths = [row["history_length"] for row in selected]
        values = {
            "time": [1 / row["examples_per_s"] for row in selected],
            "memory": [row["peak_memory_mb"] for row in selected],
            "memory_of_steps": [
                max(row["peak_memory_mb"] - row["memory_before_mb"], 1) for row in selected
            ],
        }
        result[model] = {name: slope(lengths, column) for name, column in values.items()}
    return result


def slope(lengths: Sequence[float], values: Sequence[float]) -> float:
    """The exponent p of the best `values = c * lengths ** p`."""
    return float(np.polyfit(np.log(lengths), np.log(values), 1)[0])


def targets(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Targets with the measured values; `measured` and `met` are None if not measured."""
    rows: list[dict[str, Any]] = []

    def add(name: str, measured: float | None, wanted: float, at_least: bool) -> None:
        met = None if measured is None else (measured >= wanted) == at_least or measured == wanted
        rows.append(
            {
                "target": name,
                "measured": measured,
                "wanted": wanted,
                "at_least": at_least,
                "met": met,
            }
        )

    measured_ratios = result["ratios"]
    add(
        "IMN 3P+ over its naive form, L = 1000",
        measured_ratios.get(f"{OURS} / {PLAIN} @ 1000"),
        4,
        True,
    )
    for length, wanted in ((100, 2.0), (500, 5.0), (1000, 5.0)):
        against = [measured_ratios.get(f"{OURS} / {peer} @ {length}") for peer in PEERS]
        measured = min([ratio for ratio in against if ratio], default=None)
        add(f"IMN 3P+ over the faster DIN of another library, L = {length}", measured, wanted, True)
    add(
        "lower bound over IMN 3P+, L = 1000",
        measured_ratios.get(f"{FLOOR} / {OURS} @ 1000"),
        1.3,
        False,
    )
    powers = result["exponents"].get(OURS, {})
    add("exponent of time in L", powers.get("time"), 1.05, False)
    add("exponent of memory in L", powers.get("memory"), 1.05, False)
    real = result.get("real_lengths")
    add(
        f"IMN 3P+ over its naive form, lengths of the ratings padded to {REAL_LENGTH}",
        real and real["ratio"],
        10,
        True,
    )
    for row in result.get("input_pipeline", []):
        name = f"TFRecords over memory less 1, L = {row['history_length']}, {row['lengths']}"
        add(name, row["overhead"], 0.1, False)
    return rows
