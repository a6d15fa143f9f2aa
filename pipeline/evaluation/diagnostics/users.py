"""The users for whom the model is most wrong and most right, with their histories."""

from typing import Any

import numpy as np

from pipeline.evaluation import ranking_metrics
from pipeline.evaluation.diagnostics.attention import relative
from pipeline.evaluation.diagnostics.explained import Explained

USERS = 10  # of each kind
LEAST_ROWS = 4  # of a user: with fewer, chance decides
EVENTS = 20  # of a history, the newest ones
_TARGETS = 6  # rows of a user


class Choice:
    """The users to show, worst first, and of each the row whose history is shown.

    A user is as wrong as the mean log loss of the user's rows. Users with fewer than `LEAST_ROWS`
    rows are left out if enough others remain. No user is both wrong and right.

    Args:
      user: hashes `(N,)`.
      score: probabilities `(N,)`.
      label: 0 or 1 `(N,)`.

    Attributes:
      loss: of each row `(N,)`, in nats.
      users, considered: how many there are, and how many with enough rows.
      wrong, right: of each chosen user its rows, those with the largest loss first (wrong) or
        with the smallest (right).
    """

    def __init__(self, user: np.ndarray, score: np.ndarray, label: np.ndarray) -> None:
        self.loss = ranking_metrics.row_log_loss(score.astype(np.float64), label)
        hashes, index, rows = np.unique(user, return_inverse=True, return_counts=True)
        mean = np.bincount(index, self.loss, len(hashes)) / np.maximum(rows, 1)
        enough = rows >= LEAST_ROWS
        if enough.sum() < 2 * USERS:
            enough[:] = True
        order = np.flatnonzero(enough)
        order = order[np.argsort(-mean[order], kind="stable")]
        self.users, self.considered = len(hashes), len(order)
        most = min(USERS, len(order) // 2)
        self.wrong = [self._rows(index == number, -1) for number in order[:most]]
        self.right = [self._rows(index == number, 1) for number in order[::-1][:most]]

    def _rows(self, of_user: np.ndarray, direction: int) -> np.ndarray:
        rows = np.flatnonzero(of_user)
        return rows[np.argsort(direction * self.loss[rows], kind="stable")]

    @property
    def shown(self) -> list[int]:
        """The row of each chosen user whose history is shown: wrong ones, then right ones."""
        return [int(rows[0]) for rows in (*self.wrong, *self.right)]


def users(
    choice: Choice, ids: list[bytes], explained: Explained, rows: dict[str, np.ndarray]
) -> dict[str, Any]:
    """The chosen users with their rows and histories, ready for JSON.

    Args:
      choice: made from the columns of `rows`.
      ids: user ids of the shown rows.
      explained: of the shown rows.
      rows: `label` and `score` `(N,)`, and `target` `(N,)`, the ids.

    Returns:
      `users`, `considered`; `wrong` and `right`: lists of users with `user`, `rows`, `log_loss`
      (mean), `auc` (None with one class), `targets` (at most 6 rows: `item`, `label`, `score`),
      `asked` (the item for which the history is shown), `time` (of that request), `length` and
      `history` (at most 20 newest events, newest first: `item`, `time`, and `weights`, which is
      `relative` for each pass).
    """
    weight = relative(explained.weights)

    def described(shown: int, own: np.ndarray) -> dict[str, Any]:
        length = int(explained.length[shown])
        events = range(length - 1, max(length - EVENTS, 0) - 1, -1)
        auc = ranking_metrics.auc(rows["score"][own], rows["label"][own])
        return {
            "user": _text(ids[shown]),
            "rows": len(own),
            "log_loss": float(choice.loss[own].mean()),
            "auc": auc if np.isfinite(auc) else None,
            "targets": [
                {
                    "item": _text(rows["target"][row]),
                    "label": int(rows["label"][row]),
                    "score": float(rows["score"][row]),
                }
                for row in own[:_TARGETS]
            ],
            "asked": _text(explained.target[shown]),
            "time": int(explained.target_time[shown]),
            "length": length,
            "history": [
                {
                    "item": _text(explained.items[shown, j]),
                    "time": int(explained.times[shown, j]),
                    "weights": weight[shown, :, j].tolist(),
                }
                for j in events
            ],
        }

    wrong = [described(shown, own) for shown, own in enumerate(choice.wrong)]
    right = [described(len(wrong) + shown, own) for shown, own in enumerate(choice.right)]
    return {
        "users": choice.users,
        "considered": choice.considered,
        "wrong": wrong,
        "right": right,
    }


def _text(identifier: bytes) -> str:
    return identifier.decode("utf-8", "backslashreplace")
