"""Markdown and picture of the scale benchmark."""

from typing import Any

from benchmarks.reporting import conditions, line, rule, targets_table

_OPTIMIZERS = {"lazy_adam": "ours (LazyAdam)", "keras_adam": "Keras' Adam"}
_GB = 1e9


def markdown(result: dict[str, Any]) -> str:
    """The report: measurements, marginal costs, and the sizes computed from them."""
    parts = [
        f"{conditions(result)} IMN 3P+, B = {result['batch_size']}, D = {result['dim']}, "
        f"full histories.",
        targets_table(result["targets"]),
        "## Items",
        _items(result),
        "## Length of the history",
        _lengths(result),
        "## Rows of the files",
        _rows(result),
        "## Marginal costs",
        _constants(result["constants"]),
        "## Sizes that fit into 24 GB (computed)",
        _fits(result["fits"]),
        "## Larger data sets (computed)",
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


def _constants(costs: dict[str, float]) -> str:
    return "\n".join(
        [
            f"- an item: {costs['bytes_an_item']:.0f} bytes (384 for a row and its two moments)",
            f"- an event of a batch: {costs['bytes_an_event_of_a_batch']:.0f} bytes, "
            f"{1e9 * costs['seconds_an_event']:.0f} ns per step",
            f"- a row without its events: {1e6 * costs['seconds_a_row']:.0f} µs per step",
            f"- an event on disk, gzip: {costs['bytes_an_event_on_disk']:.2f} bytes",
            f"- the shuffle buffer: {costs['buffer_bytes'] / 1e6:.0f} MB at most, for any number "
            "of rows and any L (it holds 10 million events)",
            f"- libraries and other memory: {costs['base_bytes'] / 1e6:.0f} MB",
        ]
    )


def _fits(sizes: dict[str, list[dict[str, int]]]) -> str:
    lines = [line(["L", "items at most"]), rule(1)]
    lines += [
        line([row["history_length"], f"{row['items'] / 1e6:.0f} million"])
        for row in sizes["most_items"]
    ]
    lines += ["", line(["items", "L at most"]), rule(1)]
    lines += [
        line([f"{row['items']:,}", f"{row['history_length']:,}"])
        for row in sizes["longest_history"]
    ]
    return "\n".join(lines)


def _beyond(rows: list[dict[str, Any]]) -> str:
    heads = ["data", "L", "rows an epoch", "files, GB", "item table and slots, GB", "memory, GB"]
    lines = [
        "At most 50 targets per user and a negative for each; histories hold the mean number of "
        "events per user, at most L. Time is for one machine like this one, with reading hidden "
        "behind the step. The number of machines assumes that they do not wait for each other.",
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
        "The trainer uses mirrored strategies of `tf.distribute`, which keep the whole table on "
        "each worker. A larger table needs parameter servers or workers with more memory. In each "
        "step, workers exchange the dense gradients (tens of thousands of numbers) and the rows of "
        "the batch's items.",
    ]
    return "\n".join(lines)


def picture(result: dict[str, Any], path: str) -> None:
    """Plots time of a step and memory by items, for both optimizers, and memory by L."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6))
    for optimizer, color in (("lazy_adam", "#4c72b0"), ("keras_adam", "#c44e52")):
        rows = [row for row in result["by_items"] if row["optimizer"] == optimizer]
        items = [row["items"] / 1e6 for row in rows]
        style = {"marker": "o", "color": color, "label": _OPTIMIZERS[optimizer]}
        axes[0].plot(items, [1000 * row["step_seconds"] for row in rows], **style)
        axes[1].plot(items, [row["peak_memory_mb"] / 1000 for row in rows], **style)
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
