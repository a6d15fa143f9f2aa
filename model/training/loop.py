"""The training loop: steps, evaluations, early stopping, and how to go on after a kill.

Whatever is random is a function of the seed and the number of the step, and a
checkpoint holds everything else. So a training that was killed, at any moment,
ends with the weights of one that was not.
"""

import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from model.configs import TrainingConfig
from model.ranker import Ranker
from model.training import data, metrics
from model.training.embedding_l2 import EmbeddingL2, item_counts
from model.training.optimizer import LazyAdam
from model.training.progress import Progress
from transforms import features

# Between two checkpoints at least this long, and twenty times as long as one takes.
CHECKPOINT_SECONDS = 60.0
_COST = 20.0
_EVALUATION_BATCH = 1024


@dataclasses.dataclass
class State:
    """Where a training is.

    Attributes:
      step: batches trained on so far.
      evaluations: what each evaluation found, oldest first.
    """

    step: int = 0
    evaluations: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def best(self) -> int:
        """The index of the first evaluation with the highest AUC; -1 before any."""
        aucs = [evaluation["eval_auc"] for evaluation in self.evaluations]
        return int(np.argmax(aucs)) if aucs else -1

    def stopped(self, patience: int) -> bool:
        """Whether the last `patience` evaluations were all no better than the best one."""
        return bool(self.evaluations) and len(self.evaluations) - 1 - self.best >= patience


def evaluation_steps(steps_per_epoch: int, evaluations: int) -> set[int]:
    """After which steps of an epoch, from 1, to evaluate: evenly, the last one always."""
    return {-(-k * steps_per_epoch // evaluations) for k in range(1, evaluations + 1)}


class Training:
    """One training of one ranker, in a folder that it can go on from.

    Args:
      ranker: built in the scope of `strategy`.
      recipe: how to train.
      train_files: TFRecords of transformed samples.
      eval_files: those that decide when to stop.
      spec: features to parse.
      folder: of the checkpoints; what lies there is gone on from.
      log_dir: of TensorBoard's events.
      strategy: of tf.distribute.

    Raises:
      ValueError: for an empty split, or an eval split with one class only.
    """

    def __init__(
        self,
        ranker: Ranker,
        recipe: TrainingConfig,
        train_files: Sequence[str],
        eval_files: Sequence[str],
        spec: dict[str, Any],
        folder: str,
        log_dir: str,
        strategy: tf.distribute.Strategy,
    ):
        self._ranker, self._recipe, self._strategy = ranker, recipe, strategy
        self._train_files, self._spec = train_files, spec
        self.steps_per_epoch = -(-data.count(train_files, "train") // recipe.batch_size)
        data.count(eval_files, "eval")
        self._evaluation = data.evaluation_batches(eval_files, spec, _EVALUATION_BATCH)
        self._progress = Progress(log_dir, self.steps_per_epoch)
        self._decay = None
        if recipe.table_l2:
            counts = item_counts(train_files, spec, ranker.encoder.num_items)
            self._decay = EmbeddingL2(recipe.table_l2, counts)
        with strategy.scope():
            self._optimizer = ranker.optimizer = LazyAdam(
                recipe.learning_rate, recipe.table_learning_rate
            )
            self._optimizer.build(ranker.trainable_variables)
        self.chief = _is_chief(strategy)
        # Every worker takes part in writing; only what the chief writes is kept.
        self._folder = folder if self.chief else tempfile.mkdtemp()
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
        latest = tf.train.latest_checkpoint(folder)
        if latest:
            self._manager.checkpoint.restore(latest).assert_consumed()
            self.state = State(**json.loads(self._record.numpy()))
            for evaluation in self.state.evaluations:
                self._progress.evaluation(evaluation)

    def run(self) -> State:
        """Trains until the recipe ends it; the best weights are then under `best`."""
        recipe, state = self._recipe, self.state
        when = evaluation_steps(self.steps_per_epoch, recipe.evaluations_per_epoch)
        self._saved, self._cost = time.monotonic(), 0.0
        for epoch in range(state.step // self.steps_per_epoch, recipe.epochs):
            if state.stopped(recipe.patience):
                break
            for batch in self._batches(epoch, state.step - epoch * self.steps_per_epoch):
                self._train(batch)
                if state.step - epoch * self.steps_per_epoch in when:
                    self._evaluate(epoch)
                    if state.stopped(recipe.patience):
                        break
                elif self._due():
                    self._save()
        self._progress.close()
        return state

    def _batches(self, epoch: int, skip: int) -> Any:
        dataset = data.training_batches(
            self._train_files,
            self._spec,
            self._recipe.batch_size,
            self._ranker.seed,
            epoch,
            skip,
        )
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        return self._strategy.experimental_distribute_dataset(dataset.with_options(options))

    def _train(self, batch: Any) -> None:
        loss, labels, logits = (value.numpy() for value in self._step_function(batch))
        self.state.step += 1
        if not np.isfinite(loss):
            raise self._diverged(f"The training loss is {loss}")
        self._progress.step(self.state.step, float(loss), labels, logits)

    def _diverged(self, what: str) -> ValueError:
        return ValueError(
            f"{what} at step {self.state.step}: the rates are too high "
            f"for this data. `learning_rate` is {self._recipe.learning_rate}, "
            f"`table_learning_rate` {self._recipe.table_learning_rate}."
        )

    def _evaluate(self, epoch: int) -> None:
        scored = [[each.numpy() for each in self._predict(batch)] for batch in self._evaluation]
        labels, logits = (np.concatenate(column) for column in zip(*scored, strict=True))
        if not np.isfinite(logits).all():
            raise self._diverged("A score of the eval split is no number")
        auc = metrics.auc(labels, logits)
        if np.isnan(auc):
            raise ValueError(
                "The eval split must hold both labels, 0 and 1, for an AUC. "
                f"Received: {len(labels)} samples with label {int(labels[0])}."
            )
        loss, train_auc = self._progress.recent()
        self.state.evaluations.append(
            {
                "step": self.state.step,
                "epoch": epoch,
                "eval_auc": auc,
                "eval_loss": metrics.log_loss(labels, logits),
                "train_loss": loss,
                "train_auc": train_auc,
            }
        )
        self._progress.evaluation(self.state.evaluations[-1])
        # Best weights first: a kill in between repeats this evaluation, with the same end.
        if self.state.best == len(self.state.evaluations) - 1:
            self._weights.write(self.best)
        self._save()

    def _due(self) -> bool:
        # Workers must save together, and their clocks do not agree.
        if self._strategy.extended._in_multi_worker_mode():
            return False
        return time.monotonic() - self._saved > max(CHECKPOINT_SECONDS, _COST * self._cost)

    def _save(self) -> None:
        start = time.monotonic()
        self._record.assign(json.dumps(dataclasses.asdict(self.state)))
        self._manager.save(checkpoint_number=self.state.step)
        self._saved = time.monotonic()
        self._cost = self._saved - start

    def _functions(self) -> tuple[Any, Any]:
        ranker, optimizer, strategy = self._ranker, self._optimizer, self._strategy
        decay = self._decay

        def replica_step(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                loss, logits = ranker.loss_and_logits(batch, training=True)
                others = [*ranker.losses] + ([decay(ranker, batch)] if decay else [])
                total = tf.add_n([loss, *others]) / strategy.num_replicas_in_sync
            variables = ranker.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(total, variables), variables, strict=True))
            return total, batch[features.LABEL], logits

        spec = self._batches(0, 0).element_spec

        @tf.function(input_signature=[spec], autograph=False)
        def step(batch: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            loss, labels, logits = strategy.run(replica_step, args=(batch,))
            own = strategy.experimental_local_results
            return (
                strategy.reduce(tf.distribute.ReduceOp.SUM, loss, axis=None),
                tf.concat(own(labels), axis=0),
                tf.concat(own(logits), axis=0),
            )

        @tf.function(input_signature=[self._evaluation.element_spec], autograph=False)
        def predict(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            targets = tf.reshape(batch[features.TARGET_ITEM], [-1, 1])
            logits = ranker.score_by_length(batch, targets)
            return tf.reshape(batch[features.LABEL], [-1]), tf.reshape(logits, [-1])

        return step, predict


def _is_chief(strategy: tf.distribute.Strategy) -> bool:
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None or not resolver.task_type:
        return True
    chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" or (
        not chief and resolver.task_type == "worker" and resolver.task_id == 0
    )
