"""The table of both sets of versions."""

from benchmarks import stacks

WARM, TRAINING = "`make run`, warm", "training, L = 100"


def test_the_best_round_of_each_figure_counts():
    rounds = [{WARM: 100.0, TRAINING: 5_000.0}, {WARM: 90.0, TRAINING: 4_000.0}]
    assert stacks.best(rounds) == {WARM: 90.0, TRAINING: 5_000.0}


def test_a_set_that_is_faster_has_a_ratio_above_one():
    sets = [
        {"name": "old", "figures": {WARM: 100.0, TRAINING: 5_000.0}},
        {"name": "new", "figures": {WARM: 80.0, TRAINING: 4_000.0}},
    ]
    conditions = {"date": "d", "command": "c", "rounds": 2, "cores": 2, "load_at_start": 0.0}
    text = stacks.markdown({"sets": sets, **conditions})
    assert "| `make run`, warm, s | 100.0 | 80.0 | 1.25 |" in text
    assert "| training, L = 100, examples/s | 5,000.0 | 4,000.0 | 0.80 |" in text
    assert "cold" not in text
