"""A short training as TensorBoard shows it: its curves, and each tab in a real browser."""

import csv

import numpy as np
import pytest

from tests.support import events
from tests.support.pages import board
from tests.support.trainings import RECIPE, described, train


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """Two passes; the profiler records four steps."""
    root = tmp_path_factory.mktemp("board")
    recipe = RECIPE | {"epochs": 1, "batch_size": 32, "table_l2": 0.01}
    options = "passes=2,embedding_dim=8,head_units=8"
    train(world, root, recipe=recipe, model_options=options, profile_steps=4)
    return root


@pytest.fixture(scope="module")
def logs(trained):
    return trained / "run" / "logs"


def test_curves_of_training_and_eval_share_their_tags(trained, logs):
    curves = events.scalars(logs)
    evaluations = described(trained)["evaluations"]
    assert len(evaluations) == 2
    for tag, key in (
        ("metrics/auc", "eval_auc"),
        ("metrics/gauc", "eval_gauc"),
        ("metrics/log_loss", "eval_loss"),
    ):
        expected = [(of["step"], pytest.approx(of[key], abs=1e-6)) for of in evaluations]
        assert curves["eval"][tag] == expected
    # All rows of the fixture belong to one user.
    assert evaluations[0]["eval_gauc"] == pytest.approx(evaluations[0]["eval_auc"], abs=1e-9)
    train_steps = [step for step, _ in curves["train"]["metrics/auc"]]
    assert {of["step"] for of in evaluations} <= set(train_steps)
    assert len(set(train_steps)) == len(train_steps)


def test_the_parts_of_the_loss_sum_to_the_total(logs):
    curves = events.scalars(logs)["train"]
    parts = ("cross_entropy", "in_batch_softmax", "decay")
    total = np.array([value for _, value in curves["loss/total"]])
    summed = np.sum([[value for _, value in curves[f"loss/{part}"]] for part in parts], axis=0)
    np.testing.assert_allclose(summed, total, rtol=1e-5)
    assert "loss/next_event" not in curves  # IMN without states has none
    # The cross-entropy of the last steps is their log loss.
    losses = [
        [value for _, value in curves[tag]] for tag in ("metrics/log_loss", "loss/cross_entropy")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_speed_and_norms_are_there_for_each_group(logs):
    curves = events.scalars(logs)["train"]
    assert all(0 <= value < 1 for _, value in curves["speed/share_waiting_for_input"])
    assert all(value > 0 for _, value in curves["speed/examples_per_second"])
    groups = ("item_table", "other_tables", "imn/memory_update", "head")
    for kind in ("gradient_norm", "update_norm", "weight_norm"):
        assert {tag for tag in curves if tag.startswith(kind)} >= {f"{kind}/{of}" for of in groups}
        assert [step for step, _ in curves[f"{kind}/head"]] == [50]
        assert all(value > 0 for _, value in curves[f"{kind}/head"])


def test_charts_of_eval(logs):
    found = events.values(logs)
    last = found["eval"]["calibration"][-1][0]
    for tag in (
        "attention/user_1",
        *(f"attention_entropy/pass_{number}" for number in (1, 2)),
        *(f"memory_change/pass_{number}" for number in (1, 2)),
        "pr_curve/pr_curves",
    ):
        assert found["eval"][tag][-1][0] == last
    assert "attention/user_2" not in found["eval"]  # all rows of the fixture belong to one user
    assert any(tag.startswith("weights/head/") for tag in found["train"]), sorted(found["train"])
    assert "_hparams_/session_start_info" in found["best"]
    assert list(logs.glob("train/plugins/profile/*/*.xplane.pb"))


def test_the_projector_has_the_items_by_their_frequency(world, trained, logs):
    with open(logs / "best" / "items.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    vectors = np.loadtxt(logs / "best" / "item_vectors.tsv")
    assert len(rows) == len(vectors) == described(trained)["inputs"]["num_items"] - 3
    counts = [int(row["frequency"]) for row in rows]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == 1500  # a positive for each user of the fixture
    assert len({row["item"] for row in rows}) == len(rows)
    assert all(row["item"].startswith("i") for row in rows)


@pytest.mark.skipif(not board.browser(), reason=f"none of {', '.join(board.BROWSERS)} is installed")
def test_every_tab_shows_its_charts_in_a_browser(trained):
    with board.served(str(trained)) as address, board.page() as page:
        for tab in board.TABS:
            board.open_tab(page, address, tab)
