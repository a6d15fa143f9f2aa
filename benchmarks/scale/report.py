"""The benchmark of scale as Markdown and as a picture."""

from typing import Any

import matplotlib

from benchmarks.training.report import conditions, line, rule, targets_table

matplotlib.use("Agg")
_OPTIMIZERS = {"lazy_adam": "ours (LazyAdam)", "keras_adam": "Keras' Adam"}
_GB = 1e9


def markdown(result: dict[str, Any]) -> str:
    """What was measured, the constants, and what follows from them."""
    parts = [
        f"{conditions(result)} IMN 3P+, B = {result['batch_size']}, D = {result['dim']}, "
        f"histories full.",
        targets_table(result["targets"]),
        "## Items",
        _items(result),
        "## Length of the history",
        _lengths(result),
        "## Rows of the files",
        _rows(result),
        "## What one more costs",
        _constants(result["constants"]),
        "## What fits into 24 GB, on paper",
        _fits(result["fits"]),
        "## Beyond, on paper",
        _beyond(result["beyond"]),
    ]
    return "\n\n".join(parts) + "\n"


def _items(result: dict[str, Any]) -> str:
    lines = [line(["items", "optimizer", "step, ms", "examples/s", "peak memory, MB"]), rule(4)]
    for row in result["by_items"]:
        lines.append(
            line(
                [
                    f"{row['items']:,}",
                    _OPTIMIZERS[row["optimizer"]],
                    f"{1000 * row['step_seconds']:.1f}",
                    f"{row['examples_per_s']:,.0f}",
                    f"{row['peak_memory_mb']:,}",
                ]
            )
        )
    return "\n".join(lines)


def _lengths(result: dict[str, Any]) -> str:
    lines = [line(["L", "step, ms", "examples/s", "peak memory, MB"]), rule(3)]
    for row in result["by_length"]:
        lines.append(
            line(
                [
                    row["history_length"],
                    f"{1000 * row['step_seconds']:.1f}",
                    f"{row['examples_per_s']:,.0f}",
                    f"{row['peak_memory_mb']:,}",
                ]
            )
        )
    return "\n".join(lines)


def _rows(result: dict[str, Any]) -> str:
    heads = ["rows", "files, MB", "shuffle buffer, MB", "first batch, s", "step with reading, ms"]
    lines = [line([*heads, "rows/s, reading alone", "peak memory, MB"]), rule(6)]
    for row in result["by_rows"]:
        lines.append(
            line(
                [
                    f"{row['rows']:,}",
                    f"{row['bytes_on_disk'] / 1e6:.1f}",
                    f"{row['bytes_in_buffer'] / 1e6:.0f}",
                    f"{row['first_batch_seconds']:.2f}",
                    f"{1000 * row['step_seconds']:.1f}",
                    f"{row['read_rows_per_s']:,.0f}",
                    f"{row['peak_memory_mb']:,}",
                ]
            )
        )
    return "\n".join(lines)


def _constants(of: dict[str, float]) -> str:
    return "\n".join(
        [
            f"- an item: {of['bytes_an_item']:.0f} bytes (a row and its two moments are 384)",
            f"- an event of a batch: {of['bytes_an_event_of_a_batch']:.0f} bytes, "
            f"{1e9 * of['seconds_an_event']:.0f} ns a step",
            f"- a row, whatever its length: {1e6 * of['seconds_a_row']:.0f} µs a step",
            f"- an event on disk, gzip: {of['bytes_an_event_on_disk']:.2f} bytes",
            f"- the shuffle buffer: {of['buffer_bytes'] / 1e6:.0f} MB at most, for any number of "
            "rows and any L (it holds 10 million places)",
            f"- libraries and all else: {of['base_bytes'] / 1e6:.0f} MB",
        ]
    )


def _fits(of: dict[str, list[dict[str, int]]]) -> str:
    lines = [line(["L", "items at most"]), rule(1)]
    lines += [
        line([row["history_length"], f"{row['items'] / 1e6:.0f} million"])
        for row in of["most_items"]
    ]
    lines += ["", line(["items", "L at most"]), rule(1)]
    lines += [
        line([f"{row['items']:,}", f"{row['history_length']:,}"]) for row in of["longest_history"]
    ]
    return "\n".join(lines)


def _beyond(rows: list[dict[str, Any]]) -> str:
    heads = ["data", "L", "rows an epoch", "files, GB", "item table and slots, GB", "memory, GB"]
    lines = [
        "Every target of a user, 50 at most, and a negative for each; histories as long as a user "
        "has events on average, at most L. Time is that of one machine like this one, reading "
        "included as far as it hides behind the step; machines are counted as if they did not wait "
        "for each other.",
        "",
        line(
            [
                *heads,
                "machines of 24 GB for the table",
                "an epoch, hours",
                "machines for an epoch a day",
            ]
        ),
        rule(8),
    ]
    for row in rows:
        lines.append(
            line(
                [
                    row["data"],
                    row["history_length"],
                    f"{row['rows'] / 1e6:,.0f} million",
                    f"{row['disk_bytes'] / _GB:,.1f}",
                    f"{row['table_bytes'] / _GB:,.1f}",
                    f"{row['memory_bytes'] / _GB:,.1f}",
                    "1" if row["fits"] else f"{row['shards_of_the_table']}",
                    f"{row['epoch_seconds'] / 3600:,.1f}",
                    f"{row['machines_for_an_epoch_a_day']:,}",
                ]
            )
        )
    lines += [
        "",
        "`tf.distribute`'s mirrored strategies, which the trainer uses, keep the whole table on "
        "every worker: where one does not hold it, it takes parameter servers, or workers with "
        "more memory. What workers exchange a step are the dense gradients (tens of thousands of "
        "numbers) and the rows of the batch's items.",
    ]
    return "\n".join(lines)


def picture(result: dict[str, Any], path: str) -> None:
    """Time of a step and memory against items, for both optimizers; memory against L."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6))
    for optimizer, color in (("lazy_adam", "#4c72b0"), ("keras_adam", "#c44e52")):
        own = [row for row in result["by_items"] if row["optimizer"] == optimizer]
        items = [row["items"] / 1e6 for row in own]
        style = {"marker": "o", "color": color, "label": _OPTIMIZERS[optimizer]}
        axes[0].plot(items, [1000 * row["step_seconds"] for row in own], **style)
        axes[1].plot(items, [row["peak_memory_mb"] / 1000 for row in own], **style)
    lengths = [row["history_length"] for row in result["by_length"]]
    memory = [row["peak_memory_mb"] / 1000 for row in result["by_length"]]
    axes[2].plot(lengths, memory, "o-", color="#4c72b0")
    names = ("a step, ms", "peak memory, GB", "peak memory, GB")
    for axis, name in zip(axes, names, strict=True):
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].set_xlabel("items, millions")
    axes[1].set_xlabel("items, millions")
    axes[2].set_xlabel("L, events of the history")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
