"""The second table as Markdown and as a picture: what leaks is marked on every part of it."""

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
    """AUC by length and passes, and the differences: first what does not leak, then what does."""
    given = result["samples"][0]
    train, test = given["splits"]["train"], given["splits"]["test"]
    lines = [
        f"{result['date']}, `{result['command']}`, {result['machine']}.",
        "",
        f"{given['ratings']}: IMN, test AUC, mean ± standard deviation over seeds; "
        f"`{given['split']}` split and {given['negatives']} negatives where nothing leaks; "
        f"time features {'on' if given['use_time'] else 'off'}; "
        f"trained on {train['users']:,} users, scored on the {test['samples']:,} test rows of the "
        f"{test['users']:,} who have {result['min_events']} events and more, "
        f"{'tuned by experiments.search' if result['tuned'] else 'settings as shipped, untuned'}.",
    ]
    for leaking, title in _TITLES.items():
        rows = _of(result["rows"], leaking)
        seeds = rows[0]["seeds"]
        aucs = {
            (row["model"], row["history_length"]): report.spread(row["auc_mean"], row["auc_std"])
            for row in rows
        }
        for control, text in _CONTROLS.items():
            for each in _of(result["controls"], leaking):
                aucs[text, each["history_length"]] = f"{each[control]['auc']:.4f}"
        lines += _grid(f"{title}; {seeds} seed{'s' * (seeds > 1)}", aucs)
        compared = _of(result["comparisons"], leaking)
        beside = [e for e in compared if e["history_length"] == e["against_length"]]
        shorter = [e for e in compared if e["history_length"] != e["against_length"]]
        if beside:
            against = beside[0]["against"]
            lines += _grid(f"{title}: points over {against} of the same length", _points(beside))
        if shorter:
            lines += _grid(f"{title}: points over itself, one length shorter", _points(shorter))
    lines += report.provenance(result)
    return "\n".join(lines) + "\n"


def _of(rows: list[dict[str, Any]], leaking: bool) -> list[dict[str, Any]]:
    return [row for row in rows if row["leaking"] == leaking]


def _points(compared: list[dict[str, Any]]) -> dict[tuple[str, int], str]:
    """Differences as text, by row and length."""
    return {
        (each["model"], each["history_length"]): report.difference(each, "auc") for each in compared
    }


def _grid(head: str, values: dict[tuple[str, int], str]) -> list[str]:
    """A table of rows by lengths."""
    lengths = sorted({length for _, length in values})
    columns = " | ".join(f"L = {length}" for length in lengths)
    lines = ["", f"| {head} | {columns} |", "|---" * (len(lengths) + 1) + "|"]
    for name in dict.fromkeys(name for name, _ in values):
        own = [values.get((name, length), "") for length in lengths]
        lines.append(f"| {name} | {' | '.join(own)} |")
    return lines


def picture(result: dict[str, Any], path: str) -> None:
    """AUC by length: what does not leak, the part of it that reads a history, and what leaks."""
    from matplotlib import pyplot

    names = list(dict.fromkeys(row["model"] for row in result["rows"]))
    colours = {name: f"C{place}" for place, name in enumerate(names)}
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.8), width_ratios=(1, 1.2, 1))
    axes[0].sharey(axes[2])
    for axis, leaking, near in zip(axes, (False, False, True), (False, True, False), strict=True):
        rows = _of(result["rows"], leaking)
        seeds = rows[0]["seeds"]
        for model in names:
            # Without a pass no history is read.
            own = [row for row in rows if row["model"] == model]
            if own and not (near and model.startswith("0P")):
                axis.errorbar(
                    [row["history_length"] for row in own],
                    [row["auc_mean"] for row in own],
                    yerr=[row["auc_std"] or 0 for row in own],
                    marker="o",
                    capsize=3,
                    color=colours[model],
                    label=model,
                )
        controls = _of(result["controls"], leaking)
        lengths = [each["history_length"] for each in controls]
        if not near:
            look_up = [each["own_training_windows"]["auc"] for each in controls]
            axis.plot(lengths, look_up, "k--", label="look-up, no model")
        axis.set_xscale("log")
        axis.set_xticks(lengths, lengths)
        axis.minorticks_off()
        axis.set_xlabel("L, events of the history")
        title = "LEAKS: windows split at random" if leaking else "does not leak"
        about = "the same, nearer" if near else f"{seeds} seed{'s' * (seeds > 1)}"
        axis.set_title(f"{title} ({about})", size=10)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test AUC")
    axes[0].legend(fontsize=8, ncols=2, loc="center", bbox_to_anchor=(0.5, 0.4))
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
