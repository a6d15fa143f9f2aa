"""The serving benchmark: equal requests, complete counts, correct targets."""

import json

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.serving import __main__ as serving
from benchmarks.serving import exports, figures, report, soak
from benchmarks.serving.load import Load, Outcome, send
from tests.support.serving_requests import Running, predict_request, rank_inputs

CANDIDATES = [b"i003", b"i040", b"unknown"]


@pytest.fixture(scope="module")
def server(export, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "imn"
    folder.mkdir()
    (folder / "1").symlink_to(export)
    running = Running(folder.parent)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def right(server):
    return {1: server.rank(candidates=CANDIDATES)}


def sent(server, *requests, **options):
    requests = [request.SerializeToString() for request in requests]
    return send(Load(f"127.0.0.1:{server.grpc_port}", requests, **{"seconds": 0, **options}))


def test_tiling_asks_for_the_same_scores(export):
    """With a full history, because Examples have a fixed L."""
    signatures = tf.saved_model.load(export).signatures
    inputs = rank_inputs([b"i%03d" % n for n in range(6)], CANDIDATES)
    expected = signatures["rank"](**{name: tf.constant(value) for name, value in inputs.items()})
    tiled = {name: tf.constant(value) for name, value in exports.tiled_inputs(inputs).items()}
    scores = signatures["serving_default"](**tiled)["score"]
    np.testing.assert_allclose(scores, expected["scores"][0], atol=1e-6)


def test_a_closed_loop_counts_every_answer(server, right):
    good = predict_request(rank_inputs(candidates=CANDIDATES))
    outcome = sent(server, good, clients=2, least=7, expected=right)
    assert outcome.sent == len(outcome.status) >= 7
    assert set(outcome.status) == {"OK"}
    assert set(outcome.version) == {1}
    assert (outcome.latency_ms > 0).all()


def test_an_open_loop_tells_errors_and_wrong_scores_apart(server, right):
    good = predict_request(rank_inputs(candidates=CANDIDATES))
    other = predict_request(rank_inputs(candidates=CANDIDATES[::-1]))
    bad = predict_request(rank_inputs(), signature="nothing")
    expected = {1: np.repeat(right[1], 3, axis=0)}
    outcome = sent(server, good, other, bad, seconds=0.5, rate=60, expected=expected)
    # Answers may overtake each other, but each kind comes every third time.
    kinds = ("OK", "WRONG", "INVALID_ARGUMENT")
    count = {kind: (outcome.status == kind).sum() for kind in kinds}
    assert sum(count.values()) == outcome.sent > 10
    assert max(count.values()) - min(count.values()) <= 1
    assert outcome.seconds < 30


def row(method, model, p50, clients=1, loop="closed", size=(500, 1000)):
    names = ("method", "model", "candidates", "history_length", "clients", "loop", "p50_ms")
    values = dict(zip(names, (method, model, *size, clients, loop, p50), strict=True))
    return values | {"p95_ms": 2 * p50, "p99_ms": 3 * p50, "requests_per_s": 1000 / p50}


def outcome(status, version, latency):
    count = len(status)
    return Outcome(
        count + 1,
        np.arange(count) + 1.0,
        np.array(latency, float),
        np.array(status),
        np.array(version),
        600.0,
        0.0,
    )


def test_the_result_says_what_was_measured_and_whether_it_is_enough(tmp_path):
    plan = serving.Plan(candidates=(200, 500), lengths=(1000,))
    rows = [row("rank", "imn_3p_plus", 20.0), row("tiled", "imn_3p_plus", 210.0)]
    rows += [row("rank", "din", 50.0), row("session", "imn_3p_plus", 18.0)]
    rows += [row("rank", "imn_3p_plus", 25.0, None, "open")]
    rows += [
        row(method, model, p50, size=(200, 1000))
        for method, model, p50 in (
            ("rank", "imn_3p_plus", 11.0),
            ("tiled", "imn_3p_plus", 33.0),
            ("rank", "din", 22.0),
            ("session", "imn_3p_plus", 5.5),
        )
    ]
    memory = [(second, 100.0 + 5 * (second >= 30)) for second in range(90)]
    came = outcome(["OK", "OK", "WRONG", "OK"], [1, 1, 2, 3], [1.0, 2.0, 3.0, 4.0])
    result = {"date": "today", "cores": 2, "machine": "m", "items": 1, "rows": rows}
    result["ratios"] = figures.ratios(rows)
    result["soak"] = soak.summary(10.0, 8.0, came, memory, [30.0, 60.0])
    result["targets"] = figures.targets(result, *plan.target)

    first, second = result["ratios"]
    assert (first["candidates"], first["tiled"], first["din"], first["session"]) == (
        *(500, 10.5, 2.5, 0.9),
    )
    assert (second["candidates"], second["tiled"]) == (200, 3.0)
    soaked = result["soak"]
    assert (soaked["sent"], soaked["answered"], soaked["lost"]) == (5, 3, 1)
    assert soaked["errors"] == {"WRONG": 1}
    assert soaked["answered_by_version"] == {"1": 2, "3": 1}
    assert soaked["memory_levels_mb"] == [100.0, 105.0, 105.0]
    met = {each["target"]: each["met"] for each in result["targets"]}
    assert met == {
        "p99 at K = 200, L = 1000, closed loop, ms": False,  # 33
        "times as long by tiling, K = 500, L = 1000": True,
        "errors in the soak": False,
        "lost requests in the soak": False,
        "growth of memory between swaps, MB a minute": True,
    }
    assert json.loads(json.dumps(result)) == result
    text = report.markdown(result)
    assert "| `rank` | IMN 3P+ | 1000 | 500 | 1 client | 20 | 40 | 60 | 50 |" in text
    assert "1 WRONG, lost: 1" in text
    report.picture(result, str(tmp_path / "serving.png"))
    assert (tmp_path / "serving.png").stat().st_size > 10_000
