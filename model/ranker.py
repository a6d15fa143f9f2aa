"""The training of a model: loss, step, and the metrics that Keras shows."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_recommenders as tfrs

from model import replicas
from model.configs import ModelConfig, TrainingConfig
from model.layers import history_dropout, id_dropout, in_batch_negatives
from model.length_groups import block_by_length, fold_in
from model.scorer import DataSpec, Scorer
from transforms import features
from transforms.item_attributes import ItemAttributes


class Losses(NamedTuple):
    """The loss of a batch and its parts, scalars. A part that the model has not is 0.

    Attributes:
      total: what the ranker minimises, the sum of its parts.
      cross_entropy: of the targets, the mean over the rows.
      next_event: the block's own loss; in `imn_states` and `dien` that of the next event.
      in_batch_softmax: of the extra candidates.
      decay: L2 of the head and of the item table.
      first_stage: of the first stage, which is no part of the total.
    """

    total: tf.Tensor
    cross_entropy: tf.Tensor
    next_event: tf.Tensor
    in_batch_softmax: tf.Tensor
    decay: tf.Tensor
    first_stage: tf.Tensor


class Ranker(Scorer):
    """A scorer that trains.

    `compile` and `fit` work on a dataset of transformed features with labels; the trainer's
    own loop (training/loop.py) calls `update_weights`, the step that `fit` runs too.

    Args:
      config: options of the model.
      inputs: properties of the data.
      recipe: gives the initial scale of the tables, `extra_candidates`, `history_dropout` and
        `id_dropout`.
      seed: seed of dropout, extra candidates, history dropout and id dropout.
      attributes: the item table, or None.
      retrieval: candidates of the first stage that is trained beside it; 0 for none.

    Attributes:
      embedding_l2: an additional loss of a training batch, called with the ranker and the
        batch (training/embedding_l2.py), or None. The caller sets it for a recipe with
        `table_l2`.
    """

    def __init__(
        self,
        config: ModelConfig,
        inputs: DataSpec,
        recipe: TrainingConfig,
        seed: int = 0,
        attributes: ItemAttributes | None = None,
        retrieval: int = 0,
    ):
        super().__init__(config, inputs, recipe, attributes, retrieval)
        self.extra_candidates = recipe.extra_candidates
        self.history_dropout = recipe.history_dropout
        self.id_dropout = recipe.id_dropout if attributes and inputs.use_ids else 0.0
        self.seed = seed
        self.embedding_l2: Callable[[Ranker, dict[str, tf.Tensor]], tf.Tensor] | None = None
        # Keras refuses a mean under tf.distribute, where a replica sees a part of the batch.
        self.task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.BinaryCrossentropy(
                from_logits=True, reduction=tf.keras.losses.Reduction.SUM
            )
        )

    # The trainer's own loop needs no AutoGraph either. Under `fit` it would take seconds at first.
    @tf.autograph.experimental.do_not_convert
    def loss_and_logits(
        self, inputs: dict[str, tf.Tensor], training: bool = False
    ) -> tuple[Losses, tf.Tensor]:
        """The losses of a batch and the logits `(B,)` of its targets.

        The total is the mean cross-entropy of the targets, plus the block's own loss if it has
        one. While training, `extra_candidates` adds the softmax loss of the positive rows
        (layers/in_batch_negatives.py), and `history_dropout` leaves out events of the histories
        (layers/history_dropout.py). `decay` is 0: `losses` holds the L2 of the head's kernels.
        """
        if training:
            inputs = self._with_hidden_ids(inputs)
        labels = tf.reshape(inputs[features.LABEL], [-1])
        targets = tf.reshape(inputs[features.TARGET_ITEM], [-1])
        inputs, targets, distinct = self._with_distinct(inputs, targets)
        all_rows, groups = tf.range(tf.size(labels)), self.config.length_groups
        seed = self._step_seed(0) if training else None
        allowed = tf.zeros([tf.size(labels), 0], tf.bool)
        # Rows with the same number of candidates are one kind: (rows, candidates, groups).
        kinds = [(all_rows, targets[:, None], groups)]
        if training and self.extra_candidates:
            extra, allowed = in_batch_negatives.draw(
                targets,
                inputs[features.HISTORY_ITEM],
                tf.reshape(inputs[features.HISTORY_LENGTH], [-1]),
                self.extra_candidates,
                self._step_seed(1),
            )
            candidates = tf.concat([targets[:, None], extra], axis=1)
            kinds = [(all_rows, candidates, groups)]
            if groups > 1:
                # Negative rows have no softmax loss, so they need no extra candidates.
                positive, negative = (
                    tf.boolean_mask(all_rows, (labels == 1) == wanted) for wanted in (True, False)
                )
                kinds = [
                    (positive, tf.gather(candidates, positive), groups // 2),
                    (negative, tf.gather(targets, negative)[:, None], groups // 2),
                ]
        if training and self.history_dropout:
            inputs = history_dropout.thin(inputs, self.history_dropout, self._step_seed(2))
        # The head folds 0, 1, ... into the seed, for its layers; the kinds of rows 100 and 101.
        outputs = [
            block_by_length(
                self.encoder,
                self.block,
                inputs,
                *kind,
                training,
                fold_in(seed, 100 + index),
                distinct,
            )
            for index, kind in enumerate(kinds)
        ]
        # One call of the head, so that its batch statistics are those of the whole batch.
        flat = self.head(
            tf.concat([_flat(output.user) for output in outputs], axis=0),
            tf.concat([_flat(output.targets) for output in outputs], axis=0),
            training=training,
            seed=seed,
        )
        shapes = [tf.shape(output.targets)[:2] for output in outputs]
        parts = tf.split(flat, [tf.reduce_prod(shape) for shape in shapes])
        scored = [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]
        order = tf.concat([output.rows for output in outputs], axis=0)
        logits = tf.concat([part[:, 0] for part in scored], axis=0)
        logits = tf.gather(logits, tf.math.invert_permutation(order))

        cross_entropy = self.task(labels[:, None], logits[:, None], compute_metrics=False)
        of_block = tf.add_n([output.loss for output in outputs])
        count = tf.cast(tf.maximum(tf.size(labels), 1), cross_entropy.dtype)
        total = (cross_entropy + of_block) / count
        softmax = tf.zeros([], total.dtype)
        if training and self.extra_candidates:
            rows = outputs[0].rows
            softmax = in_batch_negatives.softmax_loss(
                scored[0], tf.gather(allowed, rows), tf.gather(labels, rows)
            )
            total += softmax
        parts = (cross_entropy / count, of_block / count, softmax)
        none = tf.zeros([], total.dtype)
        return Losses(total, *parts, decay=none, first_stage=none), logits

    def update_weights(self, batch: dict[str, tf.Tensor]) -> tuple[Losses, tf.Tensor]:
        """One training step: the loss, its gradients and one update by `optimizer`.

        Under tf.distribute the batch is the replica's part of it, and every mean of the loss is
        over the rows of all replicas. Random numbers, the candidates of both softmax losses and
        the statistics of a batch are those of the replica's part.

        Returns:
          the losses and the logits `(B,)` of the targets, both before the update. The mean of the
          replicas' losses is the loss of the whole batch.
        """
        rows, positives = replicas.weights(tf.reshape(batch[features.LABEL], [-1]))
        with tf.GradientTape() as tape:
            losses, logits = self.loss_and_logits(batch, training=True)
            penalties = [losses.decay, *self.losses]
            if self.embedding_l2:
                penalties.append(self.embedding_l2(self, batch))
            parts = {
                "cross_entropy": rows * losses.cross_entropy,
                "next_event": rows * losses.next_event,
                "in_batch_softmax": positives * losses.in_batch_softmax,
                "decay": rows * tf.add_n(penalties),
            }
            loss, first_stage = tf.add_n([*parts.values()]), losses.first_stage
            minimized = loss
            if self.retrieval:  # no part of the total: it says nothing of the ranker
                first_stage = positives * self.retrieval.loss(self._with_hidden_ids(batch))
                minimized += first_stage
            # The replicas' gradients are summed.
            scaled = minimized / tf.distribute.get_strategy().num_replicas_in_sync
        variables = self.trainable_variables
        gradients = tape.gradient(scaled, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return Losses(total=loss, first_stage=first_stage, **parts), logits

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Keras calls this for each batch of `fit`; returns the metrics by name."""
        batch, _, _ = tf.keras.utils.unpack_x_y_sample_weight(data)
        losses, logits = self.update_weights(batch)
        return self._updated_metrics(batch, losses.total, logits)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Keras calls this for each batch of `evaluate`; the loss is the cross-entropy alone."""
        batch, _, _ = tf.keras.utils.unpack_x_y_sample_weight(data)
        losses, logits = self.loss_and_logits(batch)
        return self._updated_metrics(batch, losses.total, logits)

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """The mean loss per sample, and the metrics that `compile` got."""
        return [self._mean_loss, *super().metrics]

    @functools.cached_property
    def _mean_loss(self) -> tf.keras.metrics.Metric:
        # An attribute set in `__init__` would count among the weights of the model.
        return tf.keras.metrics.Mean("loss")

    def _updated_metrics(
        self, batch: dict[str, tf.Tensor], loss: tf.Tensor, logits: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        labels = tf.reshape(batch[features.LABEL], [-1])
        self._mean_loss.update_state(loss, sample_weight=tf.size(labels))
        return self.compute_metrics(batch, labels, logits, sample_weight=None)

    def _with_hidden_ids(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """A training batch after id dropout, the same one in a step."""
        if not self.id_dropout:
            return inputs
        return id_dropout.hide(inputs, self.id_dropout, self._step_seed(3))

    def _step_seed(self, purpose: int) -> Any:
        """Two integers that depend on seed, step, replica and purpose (0 to 3) alone."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = tf.stack([tf.constant(self.seed, tf.int64), self.optimizer.iterations])
        number = 3 * replica + purpose if purpose < 3 else -1 - replica
        return tf.random.experimental.stateless_fold_in(seed, number)


def _flat(values: tf.Tensor) -> tf.Tensor:
    """`(N, K, D)` as `(N * K, 1, D)`."""
    return tf.reshape(values, [-1, 1, values.shape[-1]])


def build_ranker(
    config: ModelConfig,
    inputs: DataSpec,
    recipe: TrainingConfig | None = None,
    seed: int = 0,
    attributes: ItemAttributes | None = None,
    retrieval: int = 0,
) -> Ranker:
    """Creates a ranker and its variables; one call on an empty history builds them."""
    ranker = Ranker(config, inputs, recipe or TrainingConfig(), seed, attributes, retrieval)
    ranker(
        {
            features.HISTORY_ITEM: tf.zeros([1, 1], tf.int64),
            features.HISTORY_ELAPSED: tf.zeros([1, 1], tf.int64),
            features.HISTORY_LENGTH: tf.zeros([1], tf.int64),
            features.TARGET_ITEM: tf.zeros([1], tf.int64),
            **{
                features.history_feature(name): tf.zeros([1, 1], tf.int64)
                for name in inputs.event_fields
            },
        }
    )
    # The last variables: the initial values of the others must not depend on them.
    if ranker.retrieval:
        ranker.retrieval.build_weights()
    return ranker
