"""The second table as Markdown and as a picture: what leaks is marked on every part of it."""

from collections.abc import Callable
from typing import Any

from benchmarks import report

_TITLES = {
    False: "not leaking",
    True: "LEAKING: windows split at random, uniform negatives",
}
_CONTROLS = {
    "own_training_windows": "no model: look-up of the user's training windows",
    "popularity": "no model: popularity",
}


def markdown(result: dict[str, Any]) -> str:
    """AUC by length and passes, and the differences: first what does not leak, then what does."""
    given, splits = result["samples"], result["samples"]["splits"]
    lines = [
        f"{result['date']}, `{result['command']}`, {result['machine']}.",
        "",
        f"{given['ratings']}: IMN, test AUC, mean ± standard deviation over seeds; "
        f"`{given['split']}` split and {given['negatives']} negatives where nothing leaks; "
        f"time features {'on' if given['use_time'] else 'off'}; "
        f"trained on {splits['train']['users']:,} users, "
        f"scored on the {splits['test']['samples']:,} test rows of the "
        f"{splits['test']['users']:,} who have {result['min_events']} events and more.",
    ]
    for leaking, title in _TITLES.items():
        rows = _of(result["rows"], leaking)
        seeds = rows[0]["seeds"]
        head = f"{title}; {seeds} seed{'s' * (seeds > 1)}"
        aucs = {
            (row["model"], row["history_length"]): report.spread(row["auc_mean"], row["auc_std"])
            for row in rows
        }
        for control, text in _CONTROLS.items():
            for each in _of(result["controls"], leaking):
                aucs[text, each["history_length"]] = f"{each[control]['auc']:.4f}"
        lines += _grid(head, aucs)
        compared = _of(result["comparisons"], leaking)
        lines += _grid(
            f"{title}: points over {{}} of the same length, 95 %",
            *_differences(compared, lambda each: each["against_length"] == each["history_length"]),
        )
        lines += _grid(
            f"{title}: points over itself at L = {{}}, 95 %",
            *_differences(compared, lambda each: each["against_length"] != each["history_length"]),
        )
    return "\n".join(lines) + "\n"


def _of(rows: list[dict[str, Any]], leaking: bool) -> list[dict[str, Any]]:
    return [row for row in rows if row["leaking"] == leaking]


def _differences(
    compared: list[dict[str, Any]], wanted: Callable[[dict[str, Any]], bool]
) -> tuple[dict[tuple[str, int], str], str]:
    """Cells of a grid, and what they are set beside."""
    made, beside = {}, ""
    for each in filter(wanted, compared):
        low, high = each["auc_interval"]
        text = f"{each['auc_points']:+.2f} ({low:+.2f} to {high:+.2f})"
        made[each["model"], each["history_length"]] = text
        same = each["against_length"] == each["history_length"]
        beside = each["against"] if same else str(each["against_length"])
    return made, beside


def _grid(head: str, values: dict[tuple[str, int], str], beside: str = "") -> list[str]:
    """Rows by lengths; nothing where there are no values."""
    if not values:
        return []
    lengths = sorted({length for _, length in values})
    lines = [
        "",
        f"| {head.format(beside)} | " + " | ".join(f"L = {each}" for each in lengths) + " |",
    ]
    lines.append("|---" * (len(lengths) + 1) + "|")
    for name in dict.fromkeys(name for name, _ in values):
        own = [values.get((name, length), "") for length in lengths]
        lines.append(f"| {name} | {' | '.join(own)} |")
    return lines


def picture(result: dict[str, Any], path: str) -> None:
    """AUC by length, a line a number of passes; what leaks beside what does not."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for axis, leaking in zip(axes, (False, True), strict=True):
        rows = _of(result["rows"], leaking)
        for model in dict.fromkeys(row["model"] for row in rows):
            own = [row for row in rows if row["model"] == model]
            axis.errorbar(
                [row["history_length"] for row in own],
                [row["auc_mean"] for row in own],
                yerr=[row["auc_std"] or 0 for row in own],
                marker="o",
                capsize=3,
                label=model,
            )
        look_up = [
            (each["history_length"], each["own_training_windows"]["auc"])
            for each in _of(result["controls"], leaking)
        ]
        axis.plot(*zip(*look_up, strict=True), "k--", label="look-up, no model")
        lengths = [length for length, _ in look_up]
        axis.set_xscale("log")
        axis.set_xticks(lengths, lengths)
        axis.minorticks_off()
        axis.set_xlabel("L, events of the history")
        seeds = rows[0]["seeds"]
        title = "LEAKS: windows split at random" if leaking else "does not leak"
        axis.set_title(f"{title} ({seeds} seed{'s' * (seeds > 1)})")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test AUC")
    axes[1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
