"""Histograms, curves and pictures of a model in training, for TensorBoard."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.plugins.pr_curve.summary import pb as pr_curve_pb

from model.calibration import Calibration
from model.ranker import Ranker
from model.training.summaries import norms, passes
from model.training.summaries.events import Events, histogram
from model.training.summaries.items import ItemNames

_LARGEST = 200_000  # numbers of a variable that a histogram reads


class Pictures:
    """Draws a model as it is.

    Args:
      train: events of training, for the weights.
      evaluation: events of eval, for all else.
      ranker: built.
      strategy: of the training.
      sample: a batch of transformed eval samples, for attention and memory.
      names: of the items; None shows their ids.
    """

    def __init__(
        self,
        train: Events,
        evaluation: Events,
        ranker: Ranker,
        strategy: tf.distribute.Strategy,
        sample: Mapping[str, Any],
        names: ItemNames | None,
    ):
        self._train, self._eval = train, evaluation
        self._ranker, self._strategy, self._names = ranker, strategy, names
        self._passes = passes.Passes(ranker, sample)
        self._attention: list[Any] = []  # row of the sample, its picture, its number of events

    def draw(
        self, step: int, labels: np.ndarray, logits: np.ndarray, calibration: Calibration
    ) -> None:
        """Writes all of them.

        Args:
          step: of the training.
          labels: of eval `(N,)`.
          logits: of eval `(N,)`, not calibrated.
          calibration: of these logits.
        """
        from model.training.summaries import charts  # Matplotlib takes half a second

        scores = _sigmoid(logits)
        calibrated = _sigmoid(calibration.scale * logits + calibration.bias)
        self._eval.write(
            step,
            [
                pr_curve_pb("pr_curve", labels.astype(bool), calibrated),
                histogram("scores/positives", calibrated[labels == 1]),
                histogram("scores/negatives", calibrated[labels == 0]),
            ],
        )
        self._eval.image(
            step,
            "calibration",
            charts.calibration(labels, {"as trained": scores, "served": calibrated}),
            "Share of positives by predicted probability, on eval; each point is a tenth of it.",
        )
        self._train.write(
            step,
            [
                histogram(f"weights/{name}", _some(variable))
                for name, variable in zip(
                    norms.names(self._ranker), self._ranker.trainable_variables, strict=True
                )
            ],
        )
        self._eval.scalars(step, self._here(self._passes.memory_change))
        shares = self._here(self._passes.shares)
        if shares is not None:
            self._draw_attention(step, shares)

    def _here(self, compute: Callable[[], Any]) -> Any:
        """The result of a function that runs the model, computed by a replica of this worker.

        Outside of a replica, reading a moving average would wait for all workers, and only the
        chief writes summaries.
        """
        result = self._strategy.run(tf.autograph.experimental.do_not_convert(compute))
        return self._strategy.experimental_local_results(result)[0]

    def _draw_attention(self, step: int, shares: np.ndarray) -> None:
        from model.training.summaries import charts

        entropies = passes.entropy(shares, self._passes.length)
        self._eval.write(
            step,
            [
                histogram(f"attention_entropy/pass_{number}", values)
                for number, values in enumerate(entropies.T, start=1)
            ],
        )
        if not self._attention:
            for row in self._passes.shown:
                names = self._labels([*self._passes.events(row), self._passes.target[row]])
                picture = charts.AttentionPicture(shares.shape[1], names[:-1], names[-1])
                self._attention.append((row, picture, len(names) - 1))
        for number, (row, picture, events) in enumerate(self._attention, start=1):
            newest = shares[row, :, shares.shape[2] - events :]
            self._eval.image(
                step,
                f"attention/user_{number}",
                picture.pixels(newest),
                f"Share of each event in each pass; {self._passes.length[row]} events in all. "
                "Below: the difference to the pass before.",
            )

    def _labels(self, items: Sequence[int]) -> list[str]:
        names = self._names
        return names.labels(items) if names else [f"item {item}" for item in items]


def _some(variable: tf.Variable) -> np.ndarray:
    """All numbers of a variable, or of evenly spaced rows of a large one."""
    width = int(np.prod(variable.shape[1:]))
    stride = -(-variable.shape[0] * width // _LARGEST)
    return variable[::stride].numpy()


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
