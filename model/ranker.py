"""The Keras model that all presets share: encoder, one sequence block, head, loss."""

from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_recommenders as tfrs

from model import in_batch
from model.configs import ModelConfig, Recipe
from model.layers.encoder import HistoryEncoder
from model.layers.head import Head
from transforms import features


class Inputs(NamedTuple):
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


class Ranker(tfrs.Model):
    """Scores candidates for users by their histories.

    Args:
      config: the model's options.
      inputs: what the data decides.
      recipe: the scale of the first values and the extra candidates are read.
      seed: of dropout and of the extra candidates.
    """

    def __init__(self, config: ModelConfig, inputs: Inputs, recipe: Recipe, seed: int = 0):
        super().__init__()
        self.config = config
        self.extra_candidates = recipe.extra_candidates
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

    def score(
        self,
        encoded: Encoded,
        candidates: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Logits `(B, K)` of candidate ids `(B, K)` for histories encoded once."""
        targets = self.encoder.candidates(candidates)
        user = self.block(encoded.history, encoded.mask, targets, training=training)
        return self.head(user, targets, training=training, seed=seed)

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Logits `(B, 1)` of the target items of transformed features."""
        target = tf.reshape(inputs[features.TARGET_ITEM], [-1, 1])
        seed = self._step_seed(0) if training else None
        return self.score(self.encode(inputs), target, training, seed)

    def compute_loss(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The loss of a batch of transformed features with labels, a scalar."""
        return self.loss_and_logits(inputs, training)[0]

    def score_by_length(
        self,
        inputs: dict[str, tf.Tensor],
        candidates: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Logits `(B, K)` as `score(encode(inputs), candidates)` gives them, sooner.

        The rows are sorted by length and the block computes them in groups, each
        cut to its longest history: most of a batch is padding otherwise.
        """
        length = tf.reshape(inputs[features.HISTORY_LENGTH], [-1])
        order = tf.argsort(length, stable=True)
        targets = tf.gather(self.encoder.candidates(candidates), order)
        histories = {
            name: inputs[name]
            for name in (features.HISTORY_ITEM, features.HISTORY_ELAPSED)
            if name in inputs
        }
        count, groups, users = tf.size(order), self.config.length_groups, []
        for group in range(groups):
            part = slice(count * group // groups, count * (group + 1) // groups)
            own = tf.gather(length, order[part])
            longest = tf.maximum(tf.reduce_max(own), 0)
            cut = {name: tf.gather(of, order[part])[:, :longest] for name, of in histories.items()}
            encoded = self.encode({**cut, features.HISTORY_LENGTH: own})
            users.append(
                self.block(encoded.history, encoded.mask, targets[part], training=training)
            )
        logits = self.head(tf.concat(users, axis=0), targets, training=training, seed=seed)
        return tf.gather(logits, tf.math.invert_permutation(order))

    def loss_and_logits(
        self, inputs: dict[str, tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss, and the logits `(B,)` of the targets.

        Mean cross-entropy of the targets; while training with extra candidates,
        plus the softmax loss of the positive rows (model/in_batch.py). What
        layers add through `add_loss` is left to the caller, as in TFRS.
        """
        labels = tf.reshape(inputs[features.LABEL], [-1])
        targets = tf.reshape(inputs[features.TARGET_ITEM], [-1])
        candidates, allowed = targets[:, None], None
        if training and self.extra_candidates:
            extra, allowed = in_batch.draw(
                targets,
                inputs[features.HISTORY_ITEM],
                tf.reshape(inputs[features.HISTORY_LENGTH], [-1]),
                self.extra_candidates,
                self._step_seed(1),
            )
            candidates = tf.concat([candidates, extra], axis=1)
        seed = self._step_seed(0) if training else None
        logits = self.score_by_length(inputs, candidates, training, seed)
        loss = self.task(labels[:, None], logits[:, :1], compute_metrics=False)
        loss /= tf.cast(tf.maximum(tf.size(labels), 1), loss.dtype)
        if allowed is not None:
            loss += in_batch.softmax_loss(logits, allowed, labels)
        return loss, logits[:, 0]

    def weights_checkpoint(self) -> tf.train.Checkpoint:
        """What reads and writes the weights, without the optimizer's state."""
        return tf.train.Checkpoint(encoder=self.encoder, block=self.block, head=self.head)

    def _step_seed(self, purpose: int) -> Any:
        """Two integers for what is random in this step: the same again after a restart."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = tf.stack([tf.constant(self.seed, tf.int64), self.optimizer.iterations])
        own = tf.random.experimental.stateless_fold_in(seed, 2 * replica + purpose)
        return own


def build_ranker(
    config: ModelConfig, inputs: Inputs, recipe: Recipe | None = None, seed: int = 0
) -> Ranker:
    """A ranker whose variables exist, by one call on an empty history."""
    ranker = Ranker(config, inputs, recipe or Recipe(), seed)
    ranker(
        {
            features.HISTORY_ITEM: tf.zeros([1, 1], tf.int64),
            features.HISTORY_ELAPSED: tf.zeros([1, 1], tf.int64),
            features.HISTORY_LENGTH: tf.zeros([1], tf.int64),
            features.TARGET_ITEM: tf.zeros([1], tf.int64),
        }
    )
    return ranker
