"""Markdown and picture of the training benchmark."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.reporting import conditions, line, rule, targets_table
from model import presets

LABELS = {
    "imn_3p_plus_plain": "IMN 3P+, naive form",
    "imn_3p_plus_recipe": "IMN 3P+, 4 extra candidates",
    "imn_3p_plain": "IMN 3P, naive form",
    "deepctr_din": "DIN of DeepCTR",
    "fuxictr_din": "DIN of FuxiCTR",
    "floor": "lower bound",
}


def label(model: str) -> str:
    """Display name of a row."""
    return LABELS.get(model) or presets.label(model)


def markdown(result: dict[str, Any]) -> str:
    """The report: tables of all measurements and targets."""
    parts = [
        f"{conditions(result)} B = {result['batch_size']}, D = {result['dim']}, "
        f"{result['items']:,} items, full histories, one candidate for each row unless noted, data "
        f"in memory. Fastest of {result['rounds']} rounds (rows without a target: 1 round), each "
        f"the median of its steps.",
        "## Examples/s",
        _table(result, lambda row: row["examples_per_s"], "{:,.0f}"),
        *_out_of_memory(result),
        *[f"{label(model)} is missing: {reason}." for model, reason in result["skipped"].items()],
        "This project's rows read items, times and positions; rows of other libraries read only "
        "items. Their DINs have the widths of this project's DIN (attention 80 and 40 with Dice, "
        "head 128 and 64), their own Adam, which updates the whole item table, and no decay.",
        "## Targets",
        targets_table(result["targets"]),
        "## Peak memory of the process, MB",
        _table(result, lambda row: row["peak_memory_mb"], "{:,.0f}"),
        "## Growth with L",
        "Exponents of L from 200 on. `memory, steps` excludes the memory before the first step "
        "(libraries, batches, tables).",
        _exponents(result),
        "## IMN 3P+ over the others",
        _ratios(result, "ratios"),
        "The same by CPU time, summed over threads. It differs from wall time if the machine was "
        "busy, or if threads wait for each other.",
        _ratios(result, "cpu_ratios"),
        _lower_bound_text(result),
    ]
    if "real_lengths" in result:
        parts += ["## Real lengths", _real(result["real_lengths"])]
    if result["input_pipeline"]:
        parts += ["## Input from files", _pipeline(result["input_pipeline"])]
    if result["profile"]:
        parts += ["## Profile of a step", *_profile(result["profile"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(result: dict[str, Any], value: Callable[[dict[str, Any]], Any], form: str) -> str:
    rows = {(row["model"], row["history_length"]): row for row in result["rows"]}
    lengths = sorted({length for _, length in rows})
    lines = [line(["L", *lengths]), rule(len(lengths))]
    for model in dict.fromkeys(model for model, _ in rows):
        cells = []
        for length in lengths:
            row = rows.get((model, length))
            if row is None:
                cells.append("")
            elif row["out_of_memory"]:
                cells.append(f"out of memory ({row['largest_batch']})")
            else:
                cells.append(form.format(value(row)))
        lines.append(line([label(model), *cells]))
    return "\n".join(lines)


def _out_of_memory(result: dict[str, Any]) -> list[str]:
    lines = [
        f"{label(row['model'])} at L = {row['history_length']}: a batch of {row['largest_batch']} "
        f"is the largest power of two that fits into {result['machine']['memory_limit_mb']:,} MB, "
        f"with {row['examples_per_s_at_largest_batch']:,.0f} examples/s."
        for row in result["rows"]
        if row["out_of_memory"]
    ]
    return ["\n".join(f"- {line}" for line in lines)] if lines else []


def _exponents(result: dict[str, Any]) -> str:
    names = ("time", "memory", "memory_of_steps")
    lines = [line(["", "time", "memory", "memory, steps"]), rule(3)]
    for model, powers in result["exponents"].items():
        lines.append(line([label(model), *[f"{powers[name]:.2f}" for name in names]]))
    return "\n".join(lines)


def _ratios(result: dict[str, Any], kind: str) -> str:
    lengths = sorted({row["history_length"] for row in result["rows"]})
    lines = [
        line(["examples/s over", *[f"L = {length}" for length in lengths]]),
        rule(len(lengths)),
    ]
    for pair in dict.fromkeys(name.rsplit(" @ ", 1)[0] for name in result[kind]):
        over, under = pair.split(" / ")
        name = label(under) if over == "imn_3p_plus" else f"{label(over)} over IMN 3P+"
        values = [result[kind].get(f"{pair} @ {length}") for length in lengths]
        lines.append(line([name, *["" if value is None else f"{value:.2f}" for value in values]]))
    return "\n".join(lines)


def _lower_bound_text(result: dict[str, Any]) -> str:
    from benchmarks.training import lower_bound  # imports TensorFlow

    length = 1000
    forward = lower_bound.forward_products(length, result["batch_size"], result["dim"])
    return (
        "The lower bound computes only the matrix products of attention, GRU cells, enhancement "
        "and head with their gradients "
        f"({lower_bound.multiply_adds(forward) / 1e9:.2f}e9 multiply-adds per step at L = "
        f"{length}), the look-ups of items and times with the sums of their gradients, and the "
        "optimizer's reads and writes. It leaves out sigmoids, sums, masks, the loss and the "
        "search for repeated ids."
    )


def _real(result: dict[str, Any]) -> str:
    median, p90, p99, longest = result["quantiles"]
    naive, ours = result["imn_3p_plus_plain"], result["imn_3p_plus"]
    return (
        f"Samples of the ratings, padded to {result['history_length']}; lengths: mean "
        f"{result['mean_length']:.0f}, median {median:.0f}, 90 % at most {p90:.0f}, 99 % at most "
        f"{p99:.0f}, longest {longest:.0f}. Naive form: {naive['examples_per_s']:,.0f} examples/s, "
        f"{naive['peak_memory_mb']:,} MB. IMN 3P+, which groups rows of similar length: "
        f"{ours['examples_per_s']:,.0f} examples/s, {ours['peak_memory_mb']:,} MB, "
        f"**{result['ratio']:.1f} times as fast**."
    )


def _pipeline(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "An epoch of IMN 3P+ with its recipe from TFRecords, read like the trainer (gzip, shuffle, "
        "parse, including filling the shuffle buffer), and from memory, with the same batches. CPU "
        "time is the sum over threads; CPU time without wall time is hidden behind the step.",
        "",
        line(
            [
                "L",
                "lengths",
                "mean",
                "batches",
                "from memory, s",
                "from files, s",
                "more",
                "CPU time, more",
            ]
        ),
        rule(7),
    ]
    for row in rows:
        lines.append(
            line(
                [
                    row["history_length"],
                    row["lengths"],
                    f"{row['mean_length']:.0f}",
                    row["batches"],
                    f"{row['memory_seconds']:.2f}",
                    f"{row['records_seconds']:.2f}",
                    f"{100 * row['overhead']:.1f} %",
                    f"{100 * row['overhead_cpu']:.1f} %",
                ]
            )
        )
    return "\n".join(lines)


def _profile(profiles: Sequence[dict[str, Any]]) -> list[str]:
    parts = ["TensorFlow's profiler: shares of the time of all kernels (calls per step)."]
    heads = [f"{label(each['model'])}, L = {each['history_length']}" for each in profiles]
    lines = [line(["", *heads]), rule(len(heads))]
    for rank in range(min(len(each["operations"]) for each in profiles)):
        shown = [each["operations"][rank] for each in profiles]
        lines.append(
            line(
                [
                    rank + 1,
                    *[
                        f"{each['operation'].strip('_')} {100 * each['share']:.0f} % "
                        f"({each['calls']:.0f})"
                        for each in shown
                    ],
                ]
            )
        )
    return [*parts, "\n".join(lines)]


def picture(result: dict[str, Any], path: str) -> None:
    """Plots examples/s and memory against L, on logarithmic axes."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.6))
    models = list(dict.fromkeys(row["model"] for row in result["rows"]))
    colors = pyplot.get_cmap("tab20")
    for number, model in enumerate(models):
        rows = [row for row in result["rows"] if row["model"] == model and not row["out_of_memory"]]
        style = {
            "color": "black" if model == "imn_3p_plus" else colors(number % 20),
            "linewidth": 2.5 if model == "imn_3p_plus" else 1.2,
            "linestyle": "--" if model in ("floor", "deepctr_din", "fuxictr_din") else "-",
            "marker": "o",
            "markersize": 3,
            "label": label(model),
        }
        lengths = [row["history_length"] for row in rows]
        axes[0].plot(lengths, [row["examples_per_s"] for row in rows], **style)
        axes[1].plot(lengths, [row["peak_memory_mb"] for row in rows], **style)
    lengths = sorted({row["history_length"] for row in result["rows"]})
    for axis, name in zip(axes, ("examples/s", "peak memory, MB"), strict=True):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(lengths, [str(length) for length in lengths])
        axis.minorticks_off()
        axis.set_xlabel("L, events of a full history")
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
