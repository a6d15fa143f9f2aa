"""Ratios and targets of the serving benchmark."""

from typing import Any

IMN, DIN = "imn_3p_plus", "din"
_LONG_SECONDS = 300  # shorter soaks do not measure the growth of memory


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
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
            "tiled": medians["tiled", IMN, candidates, length] / rank,
            "din": medians["rank", DIN, candidates, length] / rank,
            "session": medians["session", IMN, candidates, length] / rank,
        }
        for (method, model, candidates, length), rank in medians.items()
        if (method, model) == ("rank", IMN)
    ]


def targets(result: dict[str, Any], candidates: int, length: int) -> list[dict[str, Any]]:
    """Measured values, limits, and whether each target is met.

    Args:
      result: rows, ratios and soak of the benchmark.
      candidates: number of candidates of the requests with a target.
      length: their history length.
    """

    def find(rows: list[dict[str, Any]], size: int, **wanted: Any) -> dict[str, Any] | None:
        wanted |= {"candidates": size, "history_length": length}
        return next((row for row in rows if wanted.items() <= row.items()), None)

    table = []

    def add(name: str, value: float, limit: str, met: bool) -> None:
        table.append({"target": name, "measured": value, "wanted": limit, "met": met})

    request = {"method": "rank", "model": IMN}
    for loop in ({"clients": 1}, {"loop": "open"}):
        if row := find(result["rows"], candidates, **request, **loop):
            name = f"p99 at K = {candidates}, L = {length}, {row['loop']} loop, ms"
            add(name, row["p99_ms"], "at most 30", row["p99_ms"] <= 30)
    if ratio := find(result["ratios"], 500):
        name = f"times as long by tiling, K = 500, L = {length}"
        add(name, ratio["tiled"], "at least 10", ratio["tiled"] >= 10)
    if soak_result := result["soak"]:
        errors = sum(soak_result["errors"].values())
        add("errors in the soak", errors, "0", not errors)
        add("lost requests in the soak", soak_result["lost"], "0", not soak_result["lost"])
        if soak_result["seconds"] >= _LONG_SECONDS:
            growth = max(soak_result["memory_growths_mb_per_minute"])
            add("growth of memory between swaps, MB a minute", growth, "at most 2", growth <= 2)
    return table
