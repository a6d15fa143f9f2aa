"""Early stopping: the progress of a training, its best evaluation, when it stops and why."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

Evaluations = Sequence[Mapping[str, Any]]


@dataclasses.dataclass
class State:
    """Progress of a training, as its checkpoints hold it.

    Attributes:
      step: number of training steps so far.
      evaluations: metrics of each evaluation, oldest first.
    """

    step: int = 0
    evaluations: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def best(self) -> int:
        """The index of the best evaluation; -1 before any."""
        return best(self.evaluations)

    def stopped(self, patience: int) -> bool:
        """Whether the last `patience` evaluations brought no better AUC."""
        return stopped(self.evaluations, patience)


def best(evaluations: Evaluations) -> int:
    """The index of the first evaluation with the highest AUC; -1 before any."""
    aucs = [evaluation["eval_auc"] for evaluation in evaluations]
    return aucs.index(max(aucs)) if aucs else -1


def stopped(evaluations: Evaluations, patience: int) -> bool:
    """Whether the last `patience` evaluations brought no better AUC."""
    return bool(evaluations) and len(evaluations) - 1 - best(evaluations) >= patience


def ending(evaluations: Evaluations, epochs: int, patience: int) -> str:
    """Why a training ended and which weights it keeps, as a part of a sentence.

    Args:
      evaluations: all of the training, oldest first; at least one.
      epochs: most epochs of the recipe.
      patience: evaluations without a better AUC before a training stops.
    """
    kept = evaluations[best(evaluations)]
    why = (
        f"stopped early: no better AUC in {patience} evaluation{'s' * (patience > 1)}"
        if stopped(evaluations, patience)
        else f"all epochs are done ({epochs})"
    )
    return (
        f"{why}; epoch {kept['epoch'] + 1} is kept (step {kept['step']:,}, "
        f"eval AUC {kept['eval_auc']:.4f})"
    )
