"""What the passes of a model do on fixed eval samples: attention by event, entropy, memory."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from model.ranker import Ranker
from transforms import features

ROWS = 256  # samples of eval for entropy and memory
USERS = 4  # of these, the ones with a picture
EVENTS = 24  # newest events of a picture


class Passes:
    """Attention and memory of a model on the first samples of eval, the same all the time.

    Args:
      ranker: built.
      batch: transformed features of some eval samples.
    """

    def __init__(self, ranker: Ranker, batch: Mapping[str, Any]):
        self._ranker = ranker
        self._batch = {name: values[:ROWS] for name, values in batch.items()}
        self.length = self._of(features.HISTORY_LENGTH)
        self.target = self._of(features.TARGET_ITEM)
        # Positives of different users, those with many events first.
        score = np.minimum(self.length, EVENTS) * (self._of(features.LABEL) == 1)
        user = self._of(features.USER) if features.USER in batch else np.arange(len(score))
        first = {int(user[row]): int(row) for row in np.argsort(score, kind="stable")}
        self.shown = sorted(first.values(), key=lambda row: (-score[row], row))[:USERS]

    def shares(self) -> np.ndarray | None:
        """The share of each event in a pass, `(B, N, L)`; None for a model without attention.

        A share is the weight over the sum of the absolute weights of the pass. The newest event is
        in the last column. An empty history has zeros.
        """
        if not self._ranker.block.has_attention_weights:
            return None
        encoded = self._ranker.encode(self._batch)
        weights = self._ranker.attention_weights(encoded, self.target[:, None]).numpy()[:, :, 0]
        total = np.abs(weights).sum(axis=2, keepdims=True)
        return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)

    def memory_change(self) -> dict[str, float]:
        """1 − cosine of the memory after each pass with that before, the mean over samples."""
        block = self._ranker.block
        if not block.has_memories:
            return {}
        memories = [memory.numpy()[:, 0] for memory in block.memories(*self._inputs())]
        return {
            f"memory_change/pass_{number}": float(np.mean(1 - _cosine(before, after)))
            for number, (before, after) in enumerate(itertools.pairwise(memories), start=1)
        }

    def events(self, row: int) -> np.ndarray:
        """The item ids of the newest events of a sample, oldest first, `EVENTS` at most."""
        items = np.asarray(self._batch[features.HISTORY_ITEM])[row, : self.length[row]]
        return items[-EVENTS:]

    def scores(self) -> np.ndarray:
        """Logits `(B,)` of the targets."""
        encoded = self._ranker.encode(self._batch)
        return self._ranker.score(encoded, self.target[:, None]).numpy()[:, 0]

    def _inputs(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        encoded = self._ranker.encode(self._batch)
        return encoded.history, encoded.mask, self._ranker.encoder.candidates(self.target[:, None])

    def _of(self, name: str) -> np.ndarray:
        return np.asarray(self._batch[name]).reshape(-1)


def entropy(shares: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The entropy of each pass over its greatest value, the logarithm of the number of events.

    1 is the same weight for every event, 0 is one event alone.

    Args:
      shares: `(B, N, L)`, of `Passes.shares`.
      length: number of events `(B,)`.

    Returns:
      `(B', N)`, of the B' samples with at least 2 events.
    """
    several = length >= 2
    share = np.abs(shares[several])
    log = np.log(share, out=np.zeros_like(share), where=share > 0)
    return -(share * log).sum(axis=2) / np.log(length[several])[:, None]


def _cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / np.maximum(lengths, 1e-12)
