"""What a model of any preset computes: encoder, sequence block, head and calibration."""

import types
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_recommenders as tfrs

from model import attribute_match
from model.calibration import Calibration
from model.configs import ModelConfig, TrainingConfig
from model.layers.block import SequenceBlock
from model.layers.encoder import DistinctItems, HistoryEncoder
from model.layers.head import Head
from model.length_groups import block_by_length
from model.retrieval.retrieval_head import RetrievalHead
from transforms import features
from transforms.item_attributes import ItemAttributes


class DataSpec(NamedTuple):
    """The properties of the data that a model depends on.

    Attributes:
      num_items: number of item ids: padding, out-of-vocabulary buckets and vocabulary.
      max_history_length: L, rows of the position table.
      use_time: whether the model reads elapsed time.
      use_position: whether the model reads positions.
      use_ids: whether the model reads ids, or attributes alone.
      attributes: number of value ids by field of the item table.
      event_fields: number of value ids by event field.
    """

    num_items: int
    max_history_length: int
    use_time: bool = True
    use_position: bool = True
    use_ids: bool = True
    attributes: Mapping[str, int] = types.MappingProxyType({})
    event_fields: Mapping[str, int] = types.MappingProxyType({})

    def to_dict(self) -> dict[str, Any]:
        """The properties for JSON; without event fields those of a model that has none."""
        values = self._asdict()
        return {name: of for name, of in values.items() if of or name != "event_fields"}


class Encoded(NamedTuple):
    """Encoded histories.

    Attributes:
      history: `(B, L, D)`, padded on the left.
      mask: `(B, L)`, True for events.
      items: the ids `(B, L)` that were encoded, padded on the right.
    """

    history: tf.Tensor
    mask: tf.Tensor
    items: tf.Tensor


class Scorer(tfrs.Model):
    """Scores candidates by the user's history.

    Args:
      config: options of the model.
      inputs: properties of the data.
      recipe: gives the initial scale of the tables.
      attributes: the item table, or None.
      retrieval: candidates of the first stage that is trained beside it; 0 for none.

    Attributes:
      retrieval: the first stage (model/retrieval/), or None. Nothing else depends on it.
      calibration: of its probabilities, fitted by the trainer (model/calibration.py).
    """

    def __init__(
        self,
        config: ModelConfig,
        inputs: DataSpec,
        recipe: TrainingConfig,
        attributes: ItemAttributes | None = None,
        retrieval: int = 0,
    ):
        super().__init__()
        self.config = config
        self.calibration = Calibration()
        self.encoder = HistoryEncoder(
            inputs.num_items,
            config.embedding_dim,
            inputs.max_history_length if inputs.use_position else 0,
            inputs.use_time,
            recipe.table_initial_scale,
            inputs.use_ids,
            config.attributes == "projection",
            attributes,
            inputs.event_fields,
        )
        self.block = config.block()
        if not isinstance(self.block, SequenceBlock):
            raise TypeError(
                f"`{type(config).__name__}.block` must return a model.layers.block.SequenceBlock. "
                f"Received: {type(self.block).__name__}."
            )
        if self.block.selects_by_attributes:
            self.block.num_fields = len(inputs.attributes)
        self.head = Head(
            config.head_units, config.head_product, config.dropout, config.batch_norm, config.l2
        )
        self.retrieval: RetrievalHead | None = None
        if retrieval:
            self.retrieval = RetrievalHead(
                retrieval,
                inputs.num_items,
                config.embedding_dim,
                inputs.use_time,
                inputs.use_ids,
                attributes,
            )

    def encode(self, inputs: dict[str, tf.Tensor]) -> Encoded:
        """Encodes the histories `(B, L)` of transformed features, for any L."""
        items = inputs[features.HISTORY_ITEM]
        history, mask = self.encoder(
            items,
            inputs[features.HISTORY_LENGTH],
            inputs.get(features.HISTORY_ELAPSED),
            events=features.of_each_event(inputs),
        )
        return Encoded(history, mask, items)

    def score(self, encoded: Encoded, candidates: tf.Tensor) -> tf.Tensor:
        """Logits `(B, K)` of candidate ids `(B, K)` for encoded histories."""
        targets = self.encoder.candidates(candidates)
        more = attribute_match.arguments(
            self.block, self.encoder, encoded.items, encoded.mask, candidates
        )
        user = self.block(encoded.history, encoded.mask, targets, **more)
        return self.head(user, targets)

    def attention_weights(self, encoded: Encoded, candidates: tf.Tensor) -> tf.Tensor:
        """Weights `(B, N, K, L)` of the block's N passes, for candidate ids `(B, K)`."""
        more = attribute_match.arguments(
            self.block, self.encoder, encoded.items, encoded.mask, candidates
        )
        targets = self.encoder.candidates(candidates)
        return self.block.attention_weights(encoded.history, encoded.mask, targets, **more)

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Logits `(B, 1)` of the target items of transformed features, without dropout.

        Raises:
          ValueError: for `training=True`, because the dropout of a step needs its seed.
        """
        if training is True:
            raise ValueError(
                "`training` must be False: a call only infers. Train with `train_step`, `fit` or "
                "`loss_and_logits(inputs, training=True)`."
            )
        return self.score(self.encode(inputs), tf.reshape(inputs[features.TARGET_ITEM], [-1, 1]))

    def score_by_length(self, inputs: dict[str, tf.Tensor], candidates: tf.Tensor) -> tf.Tensor:
        """The same logits `(B, K)` as `score(encode(inputs), candidates)`, in less time."""
        rows = tf.range(tf.shape(candidates)[0])
        inputs, candidates, distinct = self._with_distinct(inputs, candidates)
        output = block_by_length(
            self.encoder,
            self.block,
            inputs,
            rows,
            candidates,
            self.config.length_groups,
            distinct=distinct,
        )
        logits = self.head(output.user, output.targets)
        return tf.gather(logits, tf.math.invert_permutation(output.rows))

    def _with_distinct(
        self, inputs: dict[str, tf.Tensor], candidates: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor, DistinctItems | None]:
        """With attributes: all items, each once, and indices into them in place of ids."""
        if self.encoder.attributes is None:
            return inputs, candidates, None
        distinct, (history, candidates) = self.encoder.distinct_items(
            [inputs[features.HISTORY_ITEM], candidates]
        )
        return inputs | {features.HISTORY_ITEM: history}, candidates, distinct

    def calibrated(self, logits: tf.Tensor) -> tf.Tensor:
        """Calibrated logits, in the shape and order of `logits`."""
        return self.calibration.scale * logits + self.calibration.bias

    def probabilities(self, logits: tf.Tensor) -> tf.Tensor:
        """Calibrated probabilities of logits, in their shape and order."""
        return tf.sigmoid(self.calibrated(logits))

    def weights_checkpoint(self) -> tf.train.Checkpoint:
        """A checkpoint of the weights, without the state of the optimizer."""
        parts = {"encoder": self.encoder, "block": self.block, "head": self.head}
        if self.retrieval:
            parts["retrieval"] = self.retrieval
        return tf.train.Checkpoint(**parts)
