"""Results of a table as Markdown and as a picture."""

from typing import Any

import matplotlib

matplotlib.use("Agg")
LABELS = {
    "youtube_dnn": "YouTube DNN",
    "din": "DIN",
    "dien": "DIEN",
    "sasrec": "SASRec",
    "mimn": "MIMN",
    "ubr4ctr": "UBR4CTR",
    "imn_2p": "IMN 2P",
    "imn_3p": "IMN 3P",
    "imn_3p_plus": "IMN 3P+",
}


def label(name: str) -> str:
    """What a row is called in print."""
    return LABELS.get(name, name)


def table1(result: dict[str, Any]) -> str:
    """The table, the comparisons and the controls."""
    given = result["samples"]
    lines = [
        f"{result['date']}, `{result['command']}`, {result['machine']}.",
        "",
        f"{given['ratings']}: `{given['split']}` split, {given['negatives']} "
        f"negatives, L = {given['max_history_length']}, time features "
        f"{'on' if given['use_time'] else 'off'}, "
        f"{given['splits']['test']['samples']:,} test rows of "
        f"{given['splits']['test']['users']:,} users; mean ± standard deviation over "
        f"{result['seeds']} seed{'s' * (result['seeds'] > 1)}, "
        f"{'tuned by benchmarks.search' if result['tuned'] else 'settings as shipped, untuned'}.",
        "",
        "| system | AUC | GAUC | log loss | over YouTube DNN, points | best epoch | examples/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        values = [
            _spread(row[f"{name}_mean"], row[f"{name}_std"]) for name in ("auc", "gauc", "logloss")
        ]
        points = row["improvement_points"]
        values.append("-" if points is None else f"{points:+.2f}")
        values.append(f"{row['best_epoch_mean']:.1f}")
        values.append("-" if row["examples_per_s"] is None else f"{row['examples_per_s']:,.0f}")
        lines.append(f"| {label(row['model'])} | {' | '.join(values)} |")
    if result["comparisons"]:
        lines += [
            "",
            "| IMN 3P+ less | AUC, points | 95 % | GAUC, points | 95 % |",
            "|---|---|---|---|---|",
        ]
    for each in result["comparisons"]:
        cells = []
        for metric in ("auc", "gauc"):
            low, high = each[f"{metric}_interval"]
            cells += [f"{each[f'{metric}_points']:+.2f}", f"{low:+.2f} to {high:+.2f}"]
        lines.append(f"| {label(each['against'])} | {' | '.join(cells)} |")
    lines += ["", "| control | AUC | GAUC |", "|---|---|---|"]
    for name, values in result["controls"].items():
        if name == "other_users_history":
            for system, auc in values.items():
                lines.append(f"| {label(system)}, given another user's history | {auc:.3f} | |")
        else:
            lines.append(f"| {name} | {values['auc']:.3f} | {values['gauc']:.3f} |")
    if len(result["code"]) > 1:
        lines += ["", f"Cells were trained by different versions of the code: {result['code']}."]
    return "\n".join(lines) + "\n"


def picture(result: dict[str, Any], path: str) -> None:
    """AUC of each system, the best on top, with the spread over seeds."""
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
    axis.margins(x=0.15, y=0.1)
    axis.grid(axis="x", alpha=0.3)
    axis.set_xlabel(f"test AUC, mean and standard deviation over {result['seeds']} seeds")
    axis.set_title(result["samples"]["ratings"])
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _spread(mean: float, deviation: float | None) -> str:
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"


def table2(result: dict[str, Any]) -> str:
    """AUC by length and passes: first what does not leak, then what does."""
    lengths = sorted({row["history_length"] for row in result["rows"]})
    lines = [
        f"{result['date']}, `{result['command']}`, {result['machine']}.",
        "",
        f"{result['samples']['ratings']}: IMN, test AUC, mean ± standard "
        f"deviation over {result['seeds']} seeds.",
    ]
    for leaking in (False, True):
        rows = [row for row in result["rows"] if row["leaking"] == leaking]
        title = "LEAKING: windows split at random, uniform negatives" if leaking else "Not leaking"
        lines += ["", f"| {title} | " + " | ".join(f"L = {length}" for length in lengths) + " |"]
        lines.append("|---" * (len(lengths) + 1) + "|")
        for model in dict.fromkeys(row["model"] for row in rows):
            values = [
                _spread(row["auc_mean"], row["auc_std"])
                for length in lengths
                for row in rows
                if (row["model"], row["history_length"]) == (model, length)
            ]
            lines.append(f"| {model} | {' | '.join(values)} |")
        look_up = {row["history_length"]: row["look_up_auc"] for row in rows}
        values = [f"{look_up[length]:.4f}" for length in lengths]
        lines.append(f"| look-up of the user's training windows, no model | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def picture2(result: dict[str, Any], path: str) -> None:
    """AUC by length, a line a number of passes; what leaks beside what does not."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), sharey=True)
    for axis, leaking in zip(axes, (False, True), strict=True):
        rows = [row for row in result["rows"] if row["leaking"] == leaking]
        for model in dict.fromkeys(row["model"] for row in rows):
            own = [row for row in rows if row["model"] == model]
            lengths = [row["history_length"] for row in own]
            spread = [row["auc_std"] or 0 for row in own]
            means = [row["auc_mean"] for row in own]
            axis.errorbar(lengths, means, yerr=spread, marker="o", capsize=3, label=model)
        look_up = sorted({(row["history_length"], row["look_up_auc"]) for row in rows})
        axis.plot(*zip(*look_up, strict=True), "k--", label="look-up, no model")
        axis.set_xscale("log")
        axis.set_xlabel("L, events of the history")
        axis.set_title("windows split at random (leaks)" if leaking else "does not leak")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test AUC")
    axes[1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
