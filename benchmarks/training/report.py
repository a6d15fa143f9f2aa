"""The benchmark of training as Markdown and as a picture."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib

from model import presets

matplotlib.use("Agg")
LABELS = {
    "imn_3p_plus_plain": "IMN 3P+, plain",
    "imn_3p_plus_recipe": "IMN 3P+, 4 extra candidates",
    "imn_3p_plain": "IMN 3P, plain",
    "deepctr_din": "DIN of DeepCTR",
    "fuxictr_din": "DIN of FuxiCTR",
    "floor": "the floor",
}


def label(model: str) -> str:
    """What a row is called in print."""
    return LABELS.get(model) or presets.label(model)


def conditions(result: dict[str, Any]) -> str:
    """When, by which command and on what a result was measured."""
    of = result["machine"]
    return (
        f"{result['date']}, `{result['command']}`. {of['processor']}, {of['cores']} cores, "
        f"{of['threads']} threads, {of['memory_mb'] / 1024:.0f} GB, TensorFlow {of['tensorflow']}; "
        f"load {of['load_at_start']:.1f} at the start."
    )


def markdown(result: dict[str, Any]) -> str:
    """All that was measured, and what was aimed at."""
    parts = [
        f"{conditions(result)} B = {result['batch_size']}, D = {result['dim']}, "
        f"{result['items']:,} items, histories full, one candidate a row where the row does not "
        f"say otherwise, data in memory; the fastest of {result['rounds']} rounds (of 1 for rows "
        f"without a target), each the median of its steps.",
        "## Examples/s",
        _table(result, lambda row: row["examples_per_s"], "{:,.0f}"),
        *_out_of_memory(result),
        *[f"{label(model)} is missing: {reason}." for model, reason in result["skipped"].items()],
        "Our rows read items, times and positions, those of other libraries items alone. Their "
        "DINs have our DIN's widths (attention 80 and 40 with Dice, head 128 and 64), Adam as "
        "they ship it, which sweeps the whole item table, and no decay.",
        "## Targets",
        targets_table(result["targets"]),
        "## Peak memory of the process, MB",
        _table(result, lambda row: row["peak_memory_mb"], "{:,.0f}"),
        "## Growth with L",
        "Exponents of L from 200 on. `steps` leaves out what the process held before its first "
        "step (libraries, batches, tables).",
        _exponents(result),
        "## IMN 3P+ over the others",
        _ratios(result, "ratios"),
        "The same by processor time, of all threads together; where it disagrees with the clock "
        "the machine was not quiet, or a row's threads wait for each other.",
        _ratios(result, "cpu_ratios"),
        _floor_text(result),
    ]
    if "real_lengths" in result:
        parts += ["## Real lengths", _real(result["real_lengths"])]
    if result["input_pipeline"]:
        parts += ["## Files against memory", _pipeline(result["input_pipeline"])]
    if result["profile"]:
        parts += ["## Where the step's time goes", *_profile(result["profile"])]
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


def targets_table(targets: Sequence[dict[str, Any]]) -> str:
    """What was aimed at, what was measured, and by how much it was missed."""
    lines = [line(["target", "wanted", "measured", ""]), rule(3)]
    for target in targets:
        sign = "≥" if target["at_least"] else "≤"
        measured, wanted = target["measured"], target["wanted"]
        if measured is None:
            found, verdict = "", "not measured"
        else:
            found = f"{measured:.2f}"
            verdict = "met" if target["met"] else f"missed by {abs(measured - wanted):.2f}"
        lines.append(line([target["target"], f"{sign} {wanted:g}", found, verdict]))
    return "\n".join(lines)


def _exponents(result: dict[str, Any]) -> str:
    names = ("time", "memory", "memory_of_steps")
    lines = [line(["", "time", "memory", "memory, steps"]), rule(3)]
    for model, of in result["exponents"].items():
        lines.append(line([label(model), *[f"{of[name]:.2f}" for name in names]]))
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


def _floor_text(result: dict[str, Any]) -> str:
    from benchmarks.training import lower_bound  # TensorFlow comes with it

    length = 1000
    forward = lower_bound.forward_products(length, result["batch_size"], result["dim"])
    return (
        "The floor: every product of matrices that the exact algebra, the cells, the enhancement "
        "and the head need, and the two products of its gradient "
        f"({lower_bound.multiply_adds(forward) / 1e9:.2f}e9 multiply-adds a step at L = {length}); "
        "the look-ups of items and times, the sums of their gradients by row, and the rows that "
        "the optimizer reads and writes. It has no sigmoid, sum, mask or loss, and does not search "
        "for repeated ids."
    )


def _real(of: dict[str, Any]) -> str:
    median, nine, most, longest = of["quantiles"]
    plain, ours = of["imn_3p_plus_plain"], of["imn_3p_plus"]
    return (
        f"Samples of the ratings, padded to {of['history_length']}; their lengths: mean "
        f"{of['mean_length']:.0f}, median {median:.0f}, nine tenths below {nine:.0f}, 99 % below "
        f"{most:.0f}, longest {longest:.0f}. Plain: {plain['examples_per_s']:,.0f} examples/s, "
        f"{plain['peak_memory_mb']:,} MB; as shipped, rows of similar length together: "
        f"{ours['examples_per_s']:,.0f} examples/s, {ours['peak_memory_mb']:,} MB: "
        f"**{of['ratio']:.1f} times as fast**."
    )


def _pipeline(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "An epoch of IMN 3P+ with its recipe from TFRecords as the trainer reads them (gzip, "
        "shuffled, parsed), filling of the shuffle buffer included, against the same batches from "
        "memory. Processor time is that of all threads: what is more there and not in the time is "
        "hidden behind the step.",
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
                "processor time, more",
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


def _profile(found: Sequence[dict[str, Any]]) -> list[str]:
    parts = ["TensorFlow's profiler, shares of the time of all kernels (calls a step in brackets)."]
    heads = [f"{label(of['model'])}, L = {of['history_length']}" for of in found]
    lines = [line(["", *heads]), rule(len(heads))]
    for place in range(min(len(of["operations"]) for of in found)):
        shown = [of["operations"][place] for of in found]
        lines.append(
            line(
                [
                    place + 1,
                    *[
                        f"{each['operation'].strip('_')} {100 * each['share']:.0f} % "
                        f"({each['calls']:.0f})"
                        for each in shown
                    ],
                ]
            )
        )
    return [*parts, "\n".join(lines)]


def line(cells: Sequence[Any]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def rule(columns: int) -> str:
    """The rule under the heads: the first column to the left, others to the right."""
    return "|---" + "|--:" * columns + "|"


def picture(result: dict[str, Any], path: str) -> None:
    """Examples/s and memory against L, both on logarithmic axes."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.6))
    models = list(dict.fromkeys(row["model"] for row in result["rows"]))
    colors = pyplot.get_cmap("tab20")
    for place, model in enumerate(models):
        own = [row for row in result["rows"] if row["model"] == model and not row["out_of_memory"]]
        style = {
            "color": "black" if model == "imn_3p_plus" else colors(place % 20),
            "linewidth": 2.5 if model == "imn_3p_plus" else 1.2,
            "linestyle": "--" if model in ("floor", "deepctr_din", "fuxictr_din") else "-",
            "marker": "o",
            "markersize": 3,
            "label": label(model),
        }
        lengths = [row["history_length"] for row in own]
        axes[0].plot(lengths, [row["examples_per_s"] for row in own], **style)
        axes[1].plot(lengths, [row["peak_memory_mb"] for row in own], **style)
    lengths = sorted({row["history_length"] for row in result["rows"]})
    for axis, name in zip(axes, ("examples/s", "peak memory, MB"), strict=True):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(lengths, [str(length) for length in lengths])
        axis.minorticks_off()
        axis.set_xlabel("L, events of the history, all filled")
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
