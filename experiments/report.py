"""Reports of table 1 and the ablation: Markdown and a plot."""

import itertools
from collections.abc import Callable
from typing import Any

import matplotlib

from model.presets import label

matplotlib.use("Agg")


def table1(result: dict[str, Any]) -> str:
    """The table, the comparisons and the controls."""
    samples = result["samples"]
    lines = [
        f"{result['date']}, `{result['command']}`, {result['machine']}.",
        "",
        f"{samples['ratings']}: `{samples['split']}` split, {samples['negatives']} "
        f"negatives, L = {samples['max_history_length']}, time features "
        f"{'on' if samples['use_time'] else 'off'}, "
        f"{samples['splits']['test']['samples']:,} test rows of "
        f"{samples['splits']['test']['users']:,} users; {_over(result['seeds'])}, "
        f"{'tuned by experiments.search' if result['tuned'] else 'settings as shipped, untuned'}.",
        "",
        *_rows(result["rows"]),
    ]
    for model, compared in itertools.groupby(result["comparisons"], lambda each: each["model"]):
        lines += [
            "",
            f"| {label(model)} minus | AUC, points (95 % over users; seeds ahead) | GAUC |",
            "|---|---|---|",
        ]
        for each in compared:
            values = [difference(each, metric) for metric in ("auc", "gauc")]
            lines.append(f"| {label(each['against'])} | {' | '.join(values)} |")
    lines += ["", "| control | AUC | GAUC |", "|---|---|---|"]
    for name, values in result["controls"].items():
        if name == "other_users_history":
            for system, auc in values.items():
                lines.append(f"| {label(system)}, with another user's history | {auc:.3f} | |")
        else:
            lines.append(f"| {name} | {values['auc']:.3f} | {values['gauc']:.3f} |")
    lines += provenance(result)
    return "\n".join(lines) + "\n"


def provenance(result: dict[str, Any]) -> list[str]:
    """A line that lists the versions of the code, if they are not this one."""
    all_samples = [result["samples"]] if isinstance(result["samples"], dict) else result["samples"]
    lines = []
    if not result["trained_by_this_code"]:
        lines.append(f"Versions of the code: {result['code']}.")
    if not all(samples["made_by_this_code"] for samples in all_samples):
        lines.append("The samples come from another version of the code.")
    return ["", " ".join(lines)] if lines else []


def _rows(rows: list[dict[str, Any]]) -> list[str]:
    """The rows of the table, without columns that have no values."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "model": lambda row: label(row["model"]),
        "AUC": lambda row: spread(row["auc_mean"], row["auc_std"]),
        "GAUC": lambda row: spread(row["gauc_mean"], row["gauc_std"]),
        "log loss": lambda row: spread(row["logloss_mean"], row["logloss_std"]),
    }
    if rows[0]["improvement_points"] is not None:
        columns["over YouTube DNN, points"] = lambda row: f"{row['improvement_points']:+.2f}"
    columns["best epoch"] = lambda row: f"{row['best_epoch_mean']:.1f}"
    if rows[0]["examples_per_s"] is not None:
        columns["examples/s"] = lambda row: f"{row['examples_per_s']:,.0f}"
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        lines.append(f"| {' | '.join(value(row) for value in columns.values())} |")
    return lines


def picture(result: dict[str, Any], path: str) -> None:
    """Plots the AUC of each model, best on top, with the standard deviation over seeds."""
    from matplotlib import pyplot

    rows = result["rows"][::-1]
    figure, axis = pyplot.subplots(figsize=(7, 0.4 * len(rows) + 1.2))
    for place, row in enumerate(rows):
        ours = row["model"].startswith("imn")
        axis.errorbar(
            row["auc_mean"],
            place,
            xerr=row["auc_std"] or 0,
            fmt="o",
            capsize=3,
            color="#c44e52" if ours else "#4c72b0",
        )
        text = f"{row['auc_mean']:.4f}"
        axis.annotate(text, (row["auc_mean"], place), (0, 6), textcoords="offset points", size=8)
    axis.set_yticks(range(len(rows)), [label(row["model"]) for row in rows])
    axis.margins(x=0.15)
    axis.set_ylim(-0.7, len(rows) - 0.2)
    axis.grid(axis="x", alpha=0.3)
    axis.set_xlabel(f"test AUC, {_over(result['seeds'])}")
    axis.set_title(result["samples"]["ratings"])
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _over(seeds: int) -> str:
    return f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"


def spread(mean: float, deviation: float | None) -> str:
    """A mean and its standard deviation, if there is one."""
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"


def difference(compared: dict[str, Any], metric: str) -> str:
    """Points, the interval over users, and the number of seeds in which the first is ahead."""
    low, high = compared[f"{metric}_interval"]
    ahead = f"{compared[f'{metric}_seeds_ahead']} of {compared['seeds']}"
    return f"{compared[f'{metric}_points']:+.2f} ({low:+.2f} to {high:+.2f}; {ahead})"
