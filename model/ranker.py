"""The Keras model that all presets share: encoder, one sequence block, head, loss."""

from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_recommenders as tfrs

from model.configs import ModelConfig, TrainingConfig
from model.layers import history_dropout, in_batch_negatives
from model.layers.encoder import HistoryEncoder
from model.layers.head import Head
from transforms import features


class DataSpec(NamedTuple):
    """What the data decides about a model.

    Attributes:
      num_items: ids an item may have: padding, out-of-vocabulary, vocabulary.
      max_history_length: rows of the position table.
      use_time: whether elapsed time is read.
      use_position: whether positions are.
    """

    num_items: int
    max_history_length: int
    use_time: bool = True
    use_position: bool = True


class Encoded(NamedTuple):
    """A history once encoded: `e` `(B, L, D)` and its mask `(B, L)`."""

    history: tf.Tensor
    mask: tf.Tensor


class _Read(NamedTuple):
    """What the block made of rows: the user `(N, K, D')`, in the order of `rows` `(N,)`.

    `loss` is the sum over the rows of the block's own loss.
    """

    rows: tf.Tensor
    user: tf.Tensor
    targets: tf.Tensor
    loss: tf.Tensor


class Ranker(tfrs.Model):
    """Scores candidates for users by their histories.

    Args:
      config: the model's options.
      inputs: what the data decides.
      recipe: the scale of the first values, the extra candidates and how much of a
        history is left out are read.
      seed: of dropout, of the extra candidates and of what is left out.
    """

    def __init__(
        self, config: ModelConfig, inputs: DataSpec, recipe: TrainingConfig, seed: int = 0
    ):
        super().__init__()
        self.config = config
        self.extra_candidates = recipe.extra_candidates
        self.history_dropout = recipe.history_dropout
        self.seed = seed
        self.encoder = HistoryEncoder(
            inputs.num_items,
            config.embedding_dim,
            inputs.max_history_length if inputs.use_position else 0,
            inputs.use_time,
            recipe.table_initial_scale,
        )
        self.block = config.block()
        self.head = Head(
            config.head_units, config.head_product, config.dropout, config.batch_norm, config.l2
        )
        # Summed, not averaged: under tf.distribute each replica sees part of a batch.
        self.task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.BinaryCrossentropy(
                from_logits=True, reduction=tf.keras.losses.Reduction.SUM
            )
        )

    def encode(self, inputs: dict[str, tf.Tensor]) -> Encoded:
        """Encodes the histories `(B, L)` of transformed features, any L."""
        return Encoded(
            *self.encoder(
                inputs[features.HISTORY_ITEM],
                inputs[features.HISTORY_LENGTH],
                inputs.get(features.HISTORY_ELAPSED),
            )
        )

    def score(self, encoded: Encoded, candidates: tf.Tensor) -> tf.Tensor:
        """Logits `(B, K)` of candidate ids `(B, K)` for histories encoded once."""
        targets = self.encoder.candidates(candidates)
        return self.head(self.block(encoded.history, encoded.mask, targets), targets)

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Logits `(B, 1)` of the target items of transformed features."""
        del training  # a step of training computes its loss, and scores its own way
        return self.score(self.encode(inputs), tf.reshape(inputs[features.TARGET_ITEM], [-1, 1]))

    def compute_loss(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The loss of a batch of transformed features with labels, a scalar."""
        return self.loss_and_logits(inputs, training)[0]

    def score_by_length(self, inputs: dict[str, tf.Tensor], candidates: tf.Tensor) -> tf.Tensor:
        """Logits `(B, K)` as `score(encode(inputs), candidates)` gives them, sooner."""
        rows = tf.range(tf.shape(candidates)[0])
        read = self._read_by_length(inputs, rows, candidates, self.config.length_groups)
        logits = self.head(read.user, read.targets)
        return tf.gather(logits, tf.math.invert_permutation(read.rows))

    def loss_and_logits(
        self, inputs: dict[str, tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss, and the logits `(B,)` of the targets.

        Mean cross-entropy of the targets, plus the loss of the block's own if it
        has one; while training with extra candidates, plus the softmax loss of the
        positive rows (model/layers/in_batch_negatives.py), and with `history_dropout` on histories
        with events left out (model/layers/history_dropout.py). The decay of the head's kernels is
        in `losses` and left to the caller, as in TFRS.
        """
        labels = tf.reshape(inputs[features.LABEL], [-1])
        targets = tf.reshape(inputs[features.TARGET_ITEM], [-1])
        everyone, groups = tf.range(tf.size(labels)), self.config.length_groups
        seed = self._step_seed(0) if training else None
        allowed = tf.zeros([tf.size(labels), 0], tf.bool)
        kinds = [(everyone, targets[:, None], groups)]
        if training and self.extra_candidates:
            extra, allowed = in_batch_negatives.draw(
                targets,
                inputs[features.HISTORY_ITEM],
                tf.reshape(inputs[features.HISTORY_LENGTH], [-1]),
                self.extra_candidates,
                self._step_seed(1),
            )
            candidates = tf.concat([targets[:, None], extra], axis=1)
            kinds = [(everyone, candidates, groups)]
            if groups > 1:
                # Only positive rows have a softmax loss: the others need no extra candidates.
                positive, negative = (
                    tf.boolean_mask(everyone, (labels == 1) == wanted) for wanted in (True, False)
                )
                kinds = [
                    (positive, tf.gather(candidates, positive), groups // 2),
                    (negative, tf.gather(targets, negative)[:, None], groups // 2),
                ]
        if training and self.history_dropout:
            inputs = history_dropout.thin(inputs, self.history_dropout, self._step_seed(2))
        reads = [self._read_by_length(inputs, *kind, training, seed) for kind in kinds]
        # One call of the head, whose statistics are those of the batch.
        flat = self.head(
            tf.concat([_flat(read.user) for read in reads], axis=0),
            tf.concat([_flat(read.targets) for read in reads], axis=0),
            training=training,
            seed=seed,
        )
        sizes = [tf.reduce_prod(tf.shape(read.targets)[:2]) for read in reads]
        scored = [
            tf.reshape(part, tf.shape(read.targets)[:2])
            for part, read in zip(tf.split(flat, sizes), reads, strict=True)
        ]
        back = tf.math.invert_permutation(tf.concat([read.rows for read in reads], axis=0))
        logits = tf.gather(tf.concat([part[:, 0] for part in scored], axis=0), back)

        loss = self.task(labels[:, None], logits[:, None], compute_metrics=False)
        loss += tf.add_n([read.loss for read in reads])
        loss /= tf.cast(tf.maximum(tf.size(labels), 1), loss.dtype)
        if training and self.extra_candidates:
            rows = reads[0].rows
            loss += in_batch_negatives.softmax_loss(
                scored[0], tf.gather(allowed, rows), tf.gather(labels, rows)
            )
        return loss, logits

    def _read_by_length(
        self,
        inputs: dict[str, tf.Tensor],
        rows: tf.Tensor,
        candidates: tf.Tensor,
        groups: int,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> "_Read":
        """What the block makes of some rows `(N,)` and their candidates `(N, K)`.

        The rows are sorted by length and the block computes them in groups, each
        cut to its longest history: most of a batch is padding otherwise.
        """
        length = tf.gather(tf.reshape(inputs[features.HISTORY_LENGTH], [-1]), rows)
        order = tf.argsort(length, stable=True)
        rows, length = tf.gather(rows, order), tf.gather(length, order)
        targets = self.encoder.candidates(tf.gather(candidates, order))
        histories = {
            name: inputs[name]
            for name in (features.HISTORY_ITEM, features.HISTORY_ELAPSED)
            if name in inputs
        }
        count, users, loss = tf.size(order), [], tf.zeros([], targets.dtype)
        for group in range(groups):
            part = slice(count * group // groups, count * (group + 1) // groups)
            own = length[part]
            longest = tf.maximum(tf.reduce_max(own), 0)
            cut = {name: tf.gather(of[:, :longest], rows[part]) for name, of in histories.items()}
            encoded = self.encode({**cut, features.HISTORY_LENGTH: own})
            own_seed = seed
            if seed is not None:
                own_seed = tf.random.experimental.stateless_fold_in(seed, 100 + group)
            user = self.block(
                encoded.history, encoded.mask, targets[part], training=training, seed=own_seed
            )
            if isinstance(user, tuple):
                user, mean_loss = user
                loss += mean_loss * tf.cast(tf.size(own), loss.dtype)
            users.append(user)
        user = tf.concat(users, axis=0)
        shape = tf.concat([tf.shape(targets)[:2], [user.shape[-1]]], axis=0)
        return _Read(rows, tf.broadcast_to(user, shape), targets, loss)

    def weights_checkpoint(self) -> tf.train.Checkpoint:
        """What reads and writes the weights, without the optimizer's state."""
        return tf.train.Checkpoint(encoder=self.encoder, block=self.block, head=self.head)

    def _step_seed(self, purpose: int) -> Any:
        """Two integers for what is random in this step: the same again after a restart."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = tf.stack([tf.constant(self.seed, tf.int64), self.optimizer.iterations])
        return tf.random.experimental.stateless_fold_in(seed, 3 * replica + purpose)


def _flat(values: tf.Tensor) -> tf.Tensor:
    """`(N, K, D)` as `(N * K, 1, D)`."""
    return tf.reshape(values, [-1, 1, values.shape[-1]])


def build_ranker(
    config: ModelConfig, inputs: DataSpec, recipe: TrainingConfig | None = None, seed: int = 0
) -> Ranker:
    """A ranker whose variables exist, by one call on an empty history."""
    ranker = Ranker(config, inputs, recipe or TrainingConfig(), seed)
    ranker(
        {
            features.HISTORY_ITEM: tf.zeros([1, 1], tf.int64),
            features.HISTORY_ELAPSED: tf.zeros([1, 1], tf.int64),
            features.HISTORY_LENGTH: tf.zeros([1], tf.int64),
            features.TARGET_ITEM: tf.zeros([1], tf.int64),
        }
    )
    return ranker
