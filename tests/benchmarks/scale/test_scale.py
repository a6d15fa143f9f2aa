"""The scale benchmark: marginal costs, computed sizes, and training from files."""

import math

import numpy as np
import pytest

from benchmarks.scale import __main__ as scale
from benchmarks.scale import report
from benchmarks.training import processes

MB = 2**20


def result(item=400, event=1000, base=300 * MB):
    """A measurement of a machine that is exactly linear."""

    def row(items, length, optimizer="lazy_adam"):
        seconds = 0.01 + 512 * length * 1e-6
        return {
            "items": items,
            "history_length": length,
            "optimizer": optimizer,
            "step_seconds": seconds,
            "examples_per_s": 512 / seconds,
            "peak_memory_mb": (base + items * item + 512 * length * event) / MB,
        }

    by_items = [row(items, 100) for items in (100_000, 1_000_000, 5_000_000)]
    by_items.append({**row(5_000_000, 100, "keras_adam"), "step_seconds": 9.0})
    by_rows = [
        {
            "rows": rows,
            "history_length": 100,
            "bytes_on_disk": rows * 200,
            "bytes_in_buffer": min(rows, 100_000) * 500,
            "first_batch_seconds": 0.1,
            "step_seconds": 0.07,
            "read_rows_per_s": 1e5,
            "peak_memory_mb": 700,
        }
        for rows in (50_000, 200_000)
    ]
    return {
        "batch_size": 512,
        "by_items": by_items,
        "by_length": [row(100_000, length) for length in (100, 1000, 2000)],
        "by_rows": by_rows,
    }


def test_constants_are_the_slopes_that_made_the_rows():
    found = scale.constants(result())
    assert found == {
        "bytes_an_item": pytest.approx(400),
        "bytes_an_event_of_a_batch": pytest.approx(1000),
        "base_bytes": pytest.approx(300 * MB),
        "buffer_bytes": 100_000 * 500,
        "bytes_an_event_on_disk": pytest.approx(2),
        "seconds_an_event": pytest.approx(1e-6),
        "seconds_a_row": pytest.approx(0.01 / 512),
    }


def test_a_buffer_that_was_not_full_counts_as_if_it_were():
    measured = result()
    measured["by_rows"] = measured["by_rows"][:1]  # 50,000 rows of 100,000
    assert scale.constants(measured)["buffer_bytes"] == pytest.approx(100_000 * 500)


def test_what_fits_fills_the_machine_and_no_more():
    constants = scale.constants(result())

    def memory(items, length):
        return 300 * MB + 100_000 * 500 + 400 * items + 512 * 1000 * length

    for row in [pair for pairs in scale.fits(constants).values() for pair in pairs]:
        items, length = row["items"], row["history_length"]
        room = 24 * 2**30 - memory(items, length)
        assert -400 <= room < 512 * 1000 + 400


def test_data_beyond_a_machine_is_shared_out():
    found = {row["data"]: row for row in scale.beyond(scale.constants(result()))}
    books, service = found["Amazon Books 2014"], found["a service, 500 events a user"]
    mean = 22_507_155 / 8_026_324
    assert books["rows"] == pytest.approx(2 * 22_507_155)
    assert books["fits"]
    hours = books["rows"] * (0.01 / 512 + mean * 1e-6)
    assert books["epoch_seconds"] == pytest.approx(hours)
    assert books["machines_for_an_epoch_a_day"] == 1
    assert not service["fits"]
    assert service["rows"] == 100_000_000 * 50 * 2
    left = 24 * 2**30 - (300 * MB + 100_000 * 500 + 512 * 1000 * 1000)
    assert service["shards_of_the_table"] == math.ceil(300e6 * 400 / left)


def test_targets_and_the_report_of_them(tmp_path):
    whole = result()
    targets = scale.targets(whole)
    assert [target["met"] for target in targets] == [True, True]
    assert [target["met"] for target in scale.targets(result(item=600))] == [False, True]
    constants = scale.constants(whole)
    whole |= {
        "date": "2026-01-01",
        "command": "python -m benchmarks.scale",
        "machine": {
            "processor": "x",
            "cores": 2,
            "threads": 2,
            "memory_mb": 24_000,
            "tensorflow": "2",
            "load_at_start": 0.0,
        },
        "dim": 32,
        "targets": targets,
        "constants": constants,
        "fits": scale.fits(constants),
        "beyond": scale.beyond(constants),
    }
    text = report.markdown(whole)
    assert "an item: 400 bytes" in text
    assert "| 5,000,000 | Keras' Adam | 9000.0 |" in text
    report.picture(whole, str(tmp_path / "scale.png"))
    assert (tmp_path / "scale.png").stat().st_size > 10_000


def test_samples_are_written_and_trained_on_from_files(tmp_path):
    argument = {"folder": str(tmp_path / "full"), "length": 5, "rows": 3 * 512}
    files, items = processes.call("benchmarks.training.records:write_full", argument, math.inf)
    assert len(files) == 4
    argument = {"files": files, "length": 5, "items": items, "threads": 2, "batches": 2}
    read = processes.call("benchmarks.training.records:from_files", argument, math.inf)
    assert read["bytes_on_disk"] > 0
    assert min(read["step_seconds"], read["read_rows_per_s"], read["peak_memory_mb"]) > 0
    epoch = processes.call("benchmarks.training.records:pipeline", argument, math.inf)
    assert epoch["batches"] == 2
    assert epoch["mean_length"] == 5
    assert 0 < epoch["records_first_batch_seconds"] < epoch["records_seconds"]
    assert np.isfinite(epoch["memory_cpu_seconds"])
