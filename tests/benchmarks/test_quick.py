"""The final table of `make bench`."""

import json

from benchmarks import quick


def test_a_line_shows_time_status_key_figure_and_report():
    outcomes = [
        quick.Outcome("scale", 61.4, 0, "412 bytes of memory for each item", "out/scale.md"),
        quick.Outcome("ingestion.stages", 3.0, 2, "failed; its error is above", "-"),
    ]
    lines = quick.table(outcomes).splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["scale", "61", "0"],
        ["ingestion.stages", "3", "2"],
    ]
    assert lines[1].endswith("412 bytes of memory for each item  out/scale.md")
    starts = {lines[0].index("key figure"), lines[1].index("412"), lines[2].index("failed")}
    assert len(starts) == 1


def test_each_key_figure_comes_from_the_result():
    def request(model, candidates, median, clients=1, method="rank"):
        return {
            **{"model": model, "candidates": candidates, "p50_ms": median, "clients": clients},
            **{"method": method, "history_length": 100},
        }

    def step(model, length, speed):
        return {
            **{"model": model, "history_length": length, "examples_per_s": speed},
            "out_of_memory": speed is None,
        }

    results = {
        "ingestion": {"jobs": {"ours": {"rows_per_second": 123456.7}, "polars": {}}},
        "ingestion.stages": {"one_over_two": 1.648},
        "serving": {
            "rows": [
                request("din", 200, 77.0),
                request("imn_3p_plus", 1, 2.0),
                request("imn_3p_plus", 200, 10.94),
                request("imn_3p_plus", 200, 30.0, clients=4),
                request("imn_3p_plus", 200, 50.0, method="tiled"),
            ]
        },
        "training": {"rows": [step("imn_3p_plus", 200, 9053.2), step("din", 200, 2755)]},
        "scale": {"constants": {"bytes_an_item": 411.6}},
    }
    shown = {each.name: each.key_figure(results[each.name]) for each in quick.BENCHMARKS}
    assert shown == {
        "ingestion": "123,457 ratings/s in one process",
        "ingestion.stages": "two processes are 1.65 times as fast as one",
        "serving": "10.9 ms at the median for 200 candidates, L = 100",
        "training": "9,053 examples/s for IMN 3P+, L = 200",
        "scale": "412 bytes of memory for each item",
    }


def test_a_benchmark_that_fails_shows_no_figure_of_an_earlier_run(tmp_path):
    (tmp_path / "scale.json").write_text(json.dumps({"constants": {"bytes_an_item": 1.0}}))
    benchmark = quick.Benchmark("scale", "scale", ("--unknown-option",), quick._scale)
    outcome = quick.run(benchmark, str(tmp_path), "")
    assert (outcome.name, outcome.status, outcome.report) == ("scale", 2, "-")
    assert outcome.key_figure == "failed; its error is above"
    assert outcome.seconds > 0


def test_a_benchmark_that_ends_shows_its_figure_and_its_report(tmp_path):
    (tmp_path / "scale.json").write_text(json.dumps({"constants": {"bytes_an_item": 411.6}}))
    benchmark = quick.Benchmark("scale", "scale", ("--help",), quick._scale)
    outcome = quick.run(benchmark, str(tmp_path), "")
    assert (outcome.status, outcome.report) == (0, str(tmp_path / "scale.md"))
    assert outcome.key_figure == "412 bytes of memory for each item"
