"""Reports of table 2: Markdown and a plot. All leaking parts are marked."""

from typing import Any

from experiments import report

_TITLES = {
    False: "not leaking",
    True: "LEAKING: windows split at random, uniform negatives",
}
_CONTROLS = {
    "own_training_windows": "no model: look-up in the user's training windows",
    "popularity": "no model: popularity",
    "unseen_target": "no model: never seen in training",
}


def markdown(result: dict[str, Any]) -> str:
    """AUC by length and passes, and the differences; the part that leaks comes second."""
    samples = result["samples"][0]
    train, test = samples["splits"]["train"], samples["splits"]["test"]
    lines = [
        f"{result['date']}, `{result['command']}`, {result['machine']}.",
        "",
        f"{samples['ratings']}: IMN, test AUC, mean ± standard deviation over seeds; "
        f"`{samples['split']}` split and {samples['negatives']} negatives where nothing leaks; "
        f"time features {'on' if samples['use_time'] else 'off'}; "
        f"trained on {train['users']:,} users, scored on the {test['samples']:,} test rows of the "
        f"{test['users']:,} users with {result['min_events']} events or more, "
        f"{'tuned by experiments.search' if result['tuned'] else 'settings as shipped, untuned'}.",
    ]
    for leaking, title in _TITLES.items():
        rows = _part(result["rows"], leaking)
        seeds = rows[0]["seeds"]
        aucs = {
            (row["model"], row["history_length"]): report.spread(row["auc_mean"], row["auc_std"])
            for row in rows
        }
        for control, text in _CONTROLS.items():
            for each in _part(result["controls"], leaking):
                aucs[text, each["history_length"]] = f"{each[control]['auc']:.4f}"
        lines += _grid(f"{title}; {seeds} seed{'s' * (seeds > 1)}", aucs)
        compared = _part(result["comparisons"], leaking)
        same = [each for each in compared if each["history_length"] == each["against_length"]]
        shorter = [each for each in compared if each["history_length"] != each["against_length"]]
        if same:
            against = same[0]["against"]
            lines += _grid(f"{title}: points over {against} of the same length", _points(same))
        if shorter:
            lines += _grid(f"{title}: points over itself, one length shorter", _points(shorter))
    lines += report.provenance(result)
    return "\n".join(lines) + "\n"


def _part(rows: list[dict[str, Any]], leaking: bool) -> list[dict[str, Any]]:
    """The rows of one of the two parts."""
    return [row for row in rows if row["leaking"] == leaking]


def _points(compared: list[dict[str, Any]]) -> dict[tuple[str, int], str]:
    """Differences as text, by label and length."""
    return {
        (each["model"], each["history_length"]): report.difference(each, "auc") for each in compared
    }


def _grid(head: str, values: dict[tuple[str, int], str]) -> list[str]:
    """A Markdown table: a line for each label, a column for each length."""
    lengths = sorted({length for _, length in values})
    columns = " | ".join(f"L = {length}" for length in lengths)
    lines = ["", f"| {head} | {columns} |", "|---" * (len(lengths) + 1) + "|"]
    for name in dict.fromkeys(name for name, _ in values):
        cells = [values.get((name, length), "") for length in lengths]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def picture(result: dict[str, Any], path: str) -> None:
    """Plots AUC by length: not leaking, the same without 0 passes on a finer scale, leaking."""
    from matplotlib import pyplot

    names = list(dict.fromkeys(row["model"] for row in result["rows"]))
    colors = {name: f"C{number}" for number, name in enumerate(names)}
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.8), width_ratios=(1, 1.2, 1))
    axes[0].sharey(axes[2])
    for axis, leaking, zoomed in zip(axes, (False, False, True), (False, True, False), strict=True):
        rows = _part(result["rows"], leaking)
        seeds = rows[0]["seeds"]
        for model in names:
            # With 0 passes IMN does not read the history.
            line = [row for row in rows if row["model"] == model]
            if line and not (zoomed and model.startswith("0P")):
                axis.errorbar(
                    [row["history_length"] for row in line],
                    [row["auc_mean"] for row in line],
                    yerr=[row["auc_std"] or 0 for row in line],
                    marker="o",
                    capsize=3,
                    color=colors[model],
                    label=model,
                )
        controls = _part(result["controls"], leaking)
        lengths = [each["history_length"] for each in controls]
        if not zoomed:
            look_up = [each["own_training_windows"]["auc"] for each in controls]
            axis.plot(lengths, look_up, "k--", label="look-up, no model")
        axis.set_xscale("log")
        axis.set_xticks(lengths, lengths)
        axis.minorticks_off()
        axis.set_xlabel("L, events of the history")
        title = "LEAKS: windows split at random" if leaking else "does not leak"
        about = "the same, nearer" if zoomed else f"{seeds} seed{'s' * (seeds > 1)}"
        axis.set_title(f"{title} ({about})", size=10)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test AUC")
    axes[0].legend(fontsize=8, ncols=2, loc="center", bbox_to_anchor=(0.5, 0.4))
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
