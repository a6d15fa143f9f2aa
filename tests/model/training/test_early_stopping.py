"""Early stopping, worked out by hand."""

import numpy as np
import pytest

from model.training import early_stopping


def evaluations(*aucs, per_epoch=2):
    return [
        {"epoch": i // per_epoch, "step": 1_000 * (i + 1), "eval_auc": auc}
        for i, auc in enumerate(aucs)
    ]


@pytest.mark.parametrize(
    ("aucs", "patience", "best", "stopped"),
    [
        ((), 1, -1, False),
        ((0.6,), 1, 0, False),
        ((0.6, 0.7, 0.65, 0.69), 3, 1, False),
        ((0.6, 0.7, 0.65, 0.69, 0.66), 3, 1, True),
        ((0.6, 0.6), 1, 0, True),  # an equal AUC is no better one, and the first is kept
    ],
)
def test_the_first_best_evaluation_is_kept_and_patience_counts_from_it(
    aucs, patience, best, stopped
):
    assert early_stopping.best(evaluations(*aucs)) == best
    assert early_stopping.best([{"eval_auc": np.float64(auc)} for auc in aucs]) == best
    assert early_stopping.stopped(evaluations(*aucs), patience) is stopped


def test_the_ending_says_why_and_which_epoch_is_kept():
    early = early_stopping.ending(evaluations(0.6, 0.65, 0.7, 0.69, 0.61), epochs=9, patience=2)
    assert early == (
        "stopped early: no better AUC in 2 evaluations; epoch 2 is kept (step 3,000, "
        "eval AUC 0.7000)"
    )
    full = early_stopping.ending(evaluations(0.6, 0.65, 0.64, 0.61), epochs=2, patience=6)
    assert full == "all epochs are done (2); epoch 1 is kept (step 2,000, eval AUC 0.6500)"
