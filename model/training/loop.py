"""The training loop: steps, evaluations, early stopping, checkpoints.

Random numbers depend on the seed and the number of the step alone, and a checkpoint holds all
other state. So a training that was killed at any moment and resumed ends with the same weights
as one that ran through. Keras' `fit` cannot do that: it does not restore the place in the data.
"""

import dataclasses
import itertools
import json
import os
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from model import calibration, replicas
from model.configs import TrainingConfig
from model.ranker import Ranker
from model.training import data, metrics
from model.training.early_stopping import State, ending
from model.training.embedding_l2 import EmbeddingL2, item_counts
from model.training.optimizer import LazyAdam
from model.training.progress import Progress
from model.training.summaries.board import Board, Shown
from transforms import features

# Seconds between two checkpoints, at least. It is also at least `_COST` times as long as writing
# a checkpoint takes.
CHECKPOINT_SECONDS = 60.0
_COST = 20.0
_EVALUATION_BATCH = 1024


def evaluation_steps(steps_per_epoch: int, evaluations: int) -> set[int]:
    """The steps of an epoch, from 1, after which to evaluate: evenly spaced, with the last step."""
    return {-(-k * steps_per_epoch // evaluations) for k in range(1, evaluations + 1)}


class Training:
    """One training of a ranker, resumed from its checkpoint folder.

    Args:
      ranker: built in the scope of `strategy`.
      recipe: the training options.
      train_files: TFRecords of transformed samples.
      eval_files: TFRecords of the samples for early stopping.
      spec: features to parse.
      checkpoint_dir: folder of the checkpoints. Training resumes from the latest one in it.
      log_dir: folder of TensorBoard's events.
      strategy: the strategy of tf.distribute.
      shown: what TensorBoard shows beside the curves.

    Attributes:
      steps_per_epoch: batches of an epoch.
      frequency: positive training samples by target id `(num_items,)`.
      chief: whether this worker writes checkpoints and results.
      best: path of the best weights.
      state: progress.

    Raises:
      ValueError: if a split is empty.
    """

    def __init__(
        self,
        ranker: Ranker,
        recipe: TrainingConfig,
        train_files: Sequence[str],
        eval_files: Sequence[str],
        spec: dict[str, Any],
        checkpoint_dir: str,
        log_dir: str,
        strategy: tf.distribute.Strategy,
        shown: Shown | None = None,
    ):
        self._ranker, self._recipe, self._strategy = ranker, recipe, strategy
        # The users are there for a metric of eval alone.
        self._spec = {name: of for name, of in spec.items() if name != features.USER}
        self._train_files = train_files
        samples, self.frequency = data.count(train_files, "train", ranker.encoder.num_items)
        self.steps_per_epoch = -(-samples // recipe.batch_size)
        data.require_sample(eval_files, "eval")
        worker = replicas.worker(strategy)
        self._evaluation = data.evaluation_batches(
            eval_files,
            spec,
            _EVALUATION_BATCH,
            data.Share(worker.workers, worker.number, worker.number + 1),
        )
        self._progress = Progress(self.steps_per_epoch)
        if recipe.table_l2 and ranker.encoder.use_ids:
            counts = item_counts(train_files, spec, ranker.encoder.tables["item"].shape[0])
            ranker.embedding_l2 = EmbeddingL2(recipe.table_l2, counts)
        with strategy.scope():
            self._optimizer = ranker.optimizer = LazyAdam(
                recipe.learning_rate, recipe.table_learning_rate
            )
            self._optimizer.build(ranker.trainable_variables)
        self.chief = worker.number == 0
        # TensorFlow reads some variables from all workers, so every worker must write. What the
        # others write is thrown away.
        self._thrown_away = None if self.chief else tempfile.TemporaryDirectory()
        self._folder = self._thrown_away.name if self._thrown_away else checkpoint_dir
        self._weights = ranker.weights_checkpoint()
        self._record = tf.Variable("", dtype=tf.string, trainable=False)
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(
                weights=self._weights, optimizer=self._optimizer, record=self._record
            ),
            self._folder,
            max_to_keep=1,
        )
        self.best = os.path.join(self._folder, "best")
        self._step_function, self._predict = self._functions()
        self.state = State()
        latest = tf.train.latest_checkpoint(checkpoint_dir)
        if latest:
            self._manager.checkpoint.restore(latest).assert_consumed()
            self.state = State(**json.loads(self._record.numpy()))
            for evaluation in self.state.evaluations:
                self._progress.evaluation(evaluation)
        self._board = None
        if self.chief:
            self._board = Board(
                log_dir,
                checkpoint_dir,
                self.state.step,
                ranker,
                self._optimizer,
                strategy,
                next(iter(self._evaluation)),
                shown or Shown(),
            )

    def run(self) -> State:
        """Trains to the last epoch or until early stopping; writes the best weights to `best`.

        Raises:
          ValueError: if the eval split has labels of one class only, or if the loss or a score
            is not finite.
        """
        recipe, state = self._recipe, self.state
        evaluate_after = evaluation_steps(self.steps_per_epoch, recipe.evaluations_per_epoch)
        self._saved, self._cost = time.monotonic(), 0.0
        for epoch in range(state.step // self.steps_per_epoch, recipe.epochs):
            if state.stopped(recipe.patience):
                break
            skip = state.step - epoch * self.steps_per_epoch
            batches = itertools.islice(self._batches(epoch, skip), self.steps_per_epoch - skip)
            for batch in self._board.batches(batches) if self._board else batches:
                self._train(batch)
                if state.step - epoch * self.steps_per_epoch in evaluate_after:
                    self._evaluate(epoch)
                    if state.stopped(recipe.patience):
                        break
                elif self._due():
                    self._save()
        if self._board:
            self._board.close(state.evaluations[state.best])
        self._progress.close(ending(state.evaluations, recipe.epochs, recipe.patience))
        return state

    def _batches(self, epoch: int, skip: int) -> Any:
        """The batches of an epoch, to be read up to its last one and no further."""

        def read(context: tf.distribute.InputContext) -> tf.data.Dataset:
            replicas_here = context.num_replicas_in_sync // context.num_input_pipelines
            first = context.input_pipeline_id * replicas_here
            batches = data.training_batches(
                self._train_files,
                self._spec,
                self._recipe.batch_size,
                self._ranker.seed,
                epoch,
                skip,
                data.Share(context.num_replicas_in_sync, first, first + replicas_here),
            )
            # Workers would ask each other in every step whether there is one more batch.
            endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
            return batches.apply(endless)

        return self._strategy.distribute_datasets_from_function(read)

    def _train(self, batch: Any) -> None:
        losses, labels, logits = (value.numpy() for value in self._step_function(batch))
        self.state.step += 1
        loss = float(losses[0])
        if not np.isfinite(loss):
            raise self._diverged(f"The training loss is {loss}")
        self._progress.step(self.state.step, loss, labels, logits)
        if self._board:
            self._board.step(losses, labels, logits)

    def _diverged(self, symptom: str) -> ValueError:
        return ValueError(
            f"{symptom} at step {self.state.step}: the training diverged. Lower `learning_rate` "
            f"or `table_learning_rate`. Received: {self._recipe.learning_rate} and "
            f"{self._recipe.table_learning_rate}."
        )

    def _evaluate(self, epoch: int) -> None:
        scored = [[values.numpy() for values in self._predict(batch)] for batch in self._evaluation]
        columns = [np.concatenate(column) for column in zip(*scored, strict=True)]
        labels, logits, users = replicas.rows_of_all(self._strategy, columns)
        if not np.isfinite(logits).all():
            raise self._diverged("A score of the eval split is not finite")
        auc = metrics.auc(labels, logits)
        if np.isnan(auc):
            raise ValueError(
                "The eval split must hold both labels, 0 and 1: AUC is undefined otherwise. "
                f"Received: {len(labels)} samples with label {int(labels[0])}. Raise `eval_share`, "
                "or give more ratings."
            )
        calibrated = calibration.fit(labels, logits)
        loss, train_auc = self._progress.recent()
        self.state.evaluations.append(
            {
                "step": self.state.step,
                "epoch": epoch,
                "eval_auc": auc,
                "eval_loss": metrics.log_loss(labels, logits),
                "calibrated_loss": metrics.log_loss(
                    labels, calibrated.scale * logits + calibrated.bias
                ),
                "calibration": list(calibrated),
                "train_loss": loss,
                "train_auc": train_auc,
            }
            | self._gauc(users, labels, logits)
        )
        self._progress.evaluation(self.state.evaluations[-1])
        if self._board:
            ends = self.state.step == (epoch + 1) * self.steps_per_epoch
            self._board.evaluation(self.state.evaluations[-1], labels, logits, draw=ends)
        # Best weights first: after a kill in between, the evaluation is repeated and is the same.
        if self.state.best == len(self.state.evaluations) - 1:
            self._weights.write(self.best)
        self._save()

    def _gauc(self, users: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
        """GAUC of eval; empty if the samples have no users, or none of them has both labels."""
        if features.USER not in self._evaluation.element_spec:
            return {}
        value = metrics.gauc(users, labels, logits)
        return {} if np.isnan(value) else {"eval_gauc": value}

    def _due(self) -> bool:
        # Workers must save in the same step, and their clocks differ.
        if self._strategy.extended._in_multi_worker_mode():
            return False
        return time.monotonic() - self._saved > max(CHECKPOINT_SECONDS, _COST * self._cost)

    def _save(self) -> None:
        start = time.monotonic()
        if self._board:
            self._board.flush()
        self._record.assign(json.dumps(dataclasses.asdict(self.state)))
        self._manager.save(checkpoint_number=self.state.step)
        self._saved = time.monotonic()
        self._cost = self._saved - start

    def _functions(self) -> tuple[Any, Any]:
        """A training step, and labels, logits and users of an evaluation batch: `tf.function`s."""
        ranker, strategy = self._ranker, self._strategy

        def replica_step(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            losses, logits = ranker.update_weights(batch)
            labels = tf.cast(tf.reshape(batch[features.LABEL], [-1]), logits.dtype)
            rows = tf.stack([labels, logits], axis=1)
            return tf.stack(losses), tf.distribute.get_replica_context().all_gather(rows, axis=0)

        spec = self._batches(0, 0).element_spec

        @tf.function(input_signature=[spec], autograph=False)
        def step(batch: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            losses, rows = strategy.run(replica_step, args=(batch,))
            labels, logits = tf.unstack(strategy.experimental_local_results(rows)[0], 2, axis=1)
            return (
                strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None),
                labels,
                logits,
            )

        @tf.function(input_signature=[self._evaluation.element_spec], autograph=False)
        def predict(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            targets = tf.reshape(batch[features.TARGET_ITEM], [-1, 1])
            logits = ranker.score_by_length(batch, targets)
            users = batch.get(features.USER, tf.zeros_like(targets))
            flat = (tf.reshape(values, [-1]) for values in (batch[features.LABEL], logits, users))
            return tuple(flat)

        return step, predict
