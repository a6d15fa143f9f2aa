"""Progress of a training: a bar with training loss and AUC."""

import collections
import sys
import time
from typing import Any

import numpy as np

from model.training import metrics

# Batches whose mean loss and AUC are shown: enough samples for two digits of the AUC.
_RECENT = 50
_WIDTH = 24
_SECONDS = 0.5


class Progress:
    """A progress bar on `sys.stdout`.

    A terminal shows one line that is updated in place; a file gets one line for each
    evaluation.

    Args:
      steps_per_epoch: length of the bar, in batches.
    """

    def __init__(self, steps_per_epoch: int):
        self._steps = steps_per_epoch
        self._recent: Any = collections.deque(maxlen=_RECENT)
        self._eval_auc = float("nan")
        self._start = self._shown = time.monotonic()

    def step(self, step: int, loss: float, labels: np.ndarray, logits: np.ndarray) -> None:
        """Records a training step, from 1, with the logits `(B,)` of its targets."""
        self._recent.append((loss, labels.reshape(-1), logits))
        now = time.monotonic()
        if now - self._shown >= _SECONDS:
            self._shown = now
            if sys.stdout.isatty():
                self._show(step, "\r")

    def evaluation(self, evaluation: dict[str, Any]) -> None:
        """Records an evaluation, an element of `State.evaluations` (early_stopping.py)."""
        self._eval_auc = evaluation["eval_auc"]
        if self._recent:
            self._show(evaluation["step"], "\n")

    def recent(self) -> tuple[float, float]:
        """Mean loss and exact AUC of the last 50 batches."""
        losses, labels, logits = zip(*self._recent, strict=True)
        return float(np.mean(losses)), metrics.auc(np.concatenate(labels), np.concatenate(logits))

    def close(self, ending: str) -> None:
        """Writes why the training ended as a line."""
        sys.stdout.write(f"  {ending}\n")
        sys.stdout.flush()

    def _show(self, step: int, end: str) -> None:
        loss, auc = self.recent()
        epoch, within = divmod(step - 1, self._steps)
        bar = "=" * round(_WIDTH * (within + 1) / self._steps)
        of_eval = "" if np.isnan(self._eval_auc) else f"  eval auc {self._eval_auc:.4f}"
        sys.stdout.write(
            f"  epoch {epoch + 1} [{bar:<{_WIDTH}}] {within + 1}/{self._steps}"
            f"  training loss {loss:.4f}  auc {auc:.4f}{of_eval}"
            f"  {time.monotonic() - self._start:.0f} s{end}"
        )
        sys.stdout.flush()
