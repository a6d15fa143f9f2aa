"""Writes a training for TensorBoard: the one object that the training loop calls.

Folders, each a run of TensorBoard: `train` and `eval`, with the same tags where they measure the
same, so that one chart shows both; and `best`, the row of the tab HParams.
"""

import collections
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from model.calibration import Calibration
from model.ranker import Losses, Ranker
from model.training import metrics
from model.training.optimizer import LazyAdam
from model.training.summaries import hparams, norms
from model.training.summaries.events import Events, continue_from
from model.training.summaries.items import ItemNames
from model.training.summaries.pictures import Pictures
from transforms import features

TRAIN, EVAL, BEST = "train", "eval", "best"
STEPS = 50  # between two points of the curves of training; each is a mean of as many steps
# Pictures and histograms follow at the end of an epoch if they take at most this share of the
# time so far, with those before, and always at the end of the training.
SHARE = 0.02
_FIRST_SECONDS = 1.0  # of the first ones, about; later ones take as long as those before
_PROFILE_FROM = 10  # steps of the process before the profile: the first ones compile
# The folder in which a training writes, in the folder of its checkpoints.
_PLACE = "summaries"


class Shown(NamedTuple):
    """What TensorBoard shows beside the curves.

    Attributes:
      settings: of the training, by name, for the tab HParams.
      names: of the items, for pictures.
      profile_steps: steps to profile; 0 is none.
    """

    settings: Mapping[str, Any] = {}
    names: ItemNames | None = None
    profile_steps: int = 0


class Board:
    """Curves, histograms and pictures of one training.

    Args:
      folder: of all runs of the training.
      checkpoint_dir: where a resumed training finds the folder of the one before.
      step: the step from which the training starts; above 0 if it is resumed.
      ranker: built.
      optimizer: built.
      strategy: of the training.
      sample: a batch of transformed eval samples.
      shown: what there is beside the curves.
    """

    def __init__(
        self,
        folder: str,
        checkpoint_dir: str,
        step: int,
        ranker: Ranker,
        optimizer: LazyAdam,
        strategy: tf.distribute.Strategy,
        sample: Mapping[str, Any],
        shown: Shown,
    ):
        _continue(folder, checkpoint_dir, step)
        continued = tf.io.gfile.exists(os.path.join(folder, BEST))
        self._folder, self._shown, self._strategy = folder, shown, strategy
        self._ranker, self._optimizer = ranker, optimizer
        self._events = {run: Events(os.path.join(folder, run)) for run in (TRAIN, EVAL, BEST)}
        self._norms = norms.Norms(ranker, optimizer)
        self._pictures = Pictures(
            self._events[TRAIN], self._events[EVAL], ranker, strategy, sample, shown.names
        )
        self._recent: Any = collections.deque(maxlen=STEPS)
        self._written = step
        self._waited = self._stepped = self._examples = 0.0
        self._first = self._step = step
        self._began, self._spent, self._cost = time.monotonic(), 0.0, _FIRST_SECONDS
        self._drawn = -1
        self._profiling = False
        if not continued:
            self._events[BEST].write(0, [hparams.start(shown.settings)])
            self._graph(sample)

    def batches(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The same batches. Measures how long the training waits for each."""
        iterator = iter(batches)
        while True:
            start = time.monotonic()
            batch = next(iterator, None)
            if batch is None:
                return
            self._waited += time.monotonic() - start
            self._profile()
            if (self._step + 1) % STEPS == 0:
                self._norms.before(self._whole(batch))
            self._started = time.monotonic()
            yield batch

    def step(self, losses: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> None:
        """Records the training step of the last batch.

        Args:
          losses: the values of `Losses`, in their order.
          labels: of the targets, `(B,)` or `(B, 1)`.
          logits: of the targets `(B,)`.
        """
        self._stepped += time.monotonic() - self._started
        self._step += 1
        self._examples += len(logits)
        self._recent.append((losses, labels.reshape(-1), logits))
        if self._step % STEPS == 0:
            self._point(self._norms.after())

    def evaluation(
        self, evaluation: Mapping[str, Any], labels: np.ndarray, logits: np.ndarray, draw: bool
    ) -> None:
        """Records an evaluation.

        Args:
          evaluation: an element of `State.evaluations`.
          labels: of eval `(N,)`.
          logits: of eval `(N,)`, not calibrated.
          draw: whether an epoch ends.
        """
        self._point({})
        names = {"auc": "eval_auc", "gauc": "eval_gauc", "log_loss": "eval_loss"}
        names["calibrated_log_loss"] = "calibrated_loss"
        self._events[EVAL].scalars(self._step, _named("metrics", names, evaluation))
        self._last = (labels, logits, Calibration(*evaluation["calibration"]))
        if draw and self._spent + self._cost <= SHARE * (time.monotonic() - self._began):
            self._draw()

    def flush(self) -> None:
        """Writes to disk what is buffered, before a checkpoint says that it is there."""
        for events in self._events.values():
            events.flush()

    def close(self, best: Mapping[str, Any]) -> None:
        """Draws the last pictures, and writes the metrics of the best evaluation for HParams."""
        if self._drawn != self._step and self._step > self._first:
            self._draw()
        names = {"auc": "eval_auc", "gauc": "eval_gauc", "log_loss": "calibrated_loss"}
        self._events[BEST].scalars(
            self._step,
            _named("best", names, best)
            | {"best/epoch": best["epoch"] + 1, "best/step": best["step"]},
        )
        if self._profiling:
            tf.profiler.experimental.stop()
        for events in self._events.values():
            events.close()
        logging.info(
            "Pictures and histograms took %.1f of %.1f s.",
            self._spent,
            time.monotonic() - self._began,
        )

    def _point(self, more: Mapping[str, float]) -> None:
        """Writes a point of the curves of training, with more values, unless the step has one."""
        if self._written == self._step:
            return
        losses, labels, logits = (list(column) for column in zip(*self._recent, strict=True))
        rows = [len(of) for of in logits]  # the last batch of an epoch may be smaller
        mean = np.average(losses, axis=0, weights=rows).tolist()
        label, logit = np.concatenate(labels), np.concatenate(logits)
        seconds = self._waited + self._stepped
        self._events[TRAIN].scalars(
            self._step,
            {
                # A part that is always 0 does not exist.
                **{
                    f"loss/{name}": value
                    for name, value in zip(Losses._fields, mean, strict=True)
                    if value
                },
                "metrics/auc": metrics.auc(label, logit),
                "metrics/log_loss": metrics.log_loss(label, logit),
                "learning_rate/tables": self._optimizer.table_learning_rate,
                "learning_rate/other_variables": float(self._optimizer.learning_rate.numpy()),
                "speed/examples_per_second": self._examples / seconds,
                "speed/share_waiting_for_input": self._waited / seconds,
                **more,
            },
        )
        self._written = self._step
        self._waited = self._stepped = self._examples = 0.0

    def _draw(self) -> None:
        start = time.monotonic()
        self._pictures.draw(self._step, *self._last)
        self._drawn = self._step
        self._cost = time.monotonic() - start
        self._spent += self._cost

    def _graph(self, sample: Mapping[str, Any]) -> None:
        spec = {
            name: tf.TensorSpec([None, *values.shape[1:]], values.dtype, name)
            for name, values in sample.items()
            if name not in (features.LABEL, features.USER)
        }
        model = tf.function(lambda inputs: self._ranker(inputs), autograph=False)
        self._events[TRAIN].graph(model.get_concrete_function(spec).graph)

    def _profile(self) -> None:
        """Starts or ends the profile before a step."""
        steps = self._step - self._first - _PROFILE_FROM
        if self._profiling and steps == self._shown.profile_steps:
            tf.profiler.experimental.stop()
            self._profiling = False
        elif self._shown.profile_steps and steps == 0:
            tf.profiler.experimental.start(os.path.join(self._folder, TRAIN))
            self._profiling = True

    def _whole(self, batch: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """The batch of all replicas of this worker: of large tables, norms count its rows alone."""
        parts = self._strategy.experimental_local_results
        return {name: tf.concat(parts(values), axis=0) for name, values in batch.items()}


def _continue(folder: str, checkpoint_dir: str, step: int) -> None:
    """Takes over the events of a killed training, whatever folder it wrote them to."""
    place = os.path.join(checkpoint_dir, _PLACE)
    if tf.io.gfile.exists(place):
        with tf.io.gfile.GFile(place, "r") as file:
            continue_from(file.read(), folder, step)
    tf.io.gfile.makedirs(checkpoint_dir)
    with tf.io.gfile.GFile(place, "w") as file:
        file.write(folder)


def _named(group: str, names: Mapping[str, str], evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of an evaluation by tag. GAUC may be missing."""
    return {f"{group}/{name}": evaluation[key] for name, key in names.items() if key in evaluation}
