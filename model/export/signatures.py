"""Signatures of the exported model: raw features in, probabilities out.

Every signature contains the Transform graph, so a client sends raw ids and times. The graphs use
operations of core TensorFlow alone, so any server can load them.

Unusual requests have defined answers:
- An id outside the vocabulary shares one of the out-of-vocabulary rows with other such ids; its
  hash decides which. Rows that the training never reached keep their initial values.
- A request without candidates gets no scores.
- A history may be empty. An id may occur several times; each event counts.
- The order of the events is that of their positions, not of their times.
- A time after the request counts as the time of the request, a time before 1970 as 1970. A time
  that is read and lies beyond 2100 is an error: times are seconds, not milliseconds.
- Values beyond `history_length` are never read, so a server's batcher may pad with anything.
"""

import os
import types
from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf
import tensorflow_transform as tft

from model.export import warmup
from model.export.attribute_texts import AttributeTexts
from model.export.catalogue import catalogue_of
from model.export.recommend import Recommender
from model.export.requests import REQUEST_TIME, Requests, in_seconds
from model.ranker import Ranker
from transforms import features, item_table

CANDIDATES = "candidates"
# TF Serving's Classify and Regress accept signatures with these method names only.
METHODS = {
    "classify": tf.compat.v1.saved_model.signature_constants.CLASSIFY_METHOD_NAME,
    "regress": tf.compat.v1.saved_model.signature_constants.REGRESS_METHOD_NAME,
}
CLASSES = (b"no", b"yes")  # of `classify`: whether the target is the user's next event
_RAW_FEATURES = (
    features.HISTORY_ITEM,
    features.HISTORY_TIME,
    features.HISTORY_LENGTH,
    features.TARGET_ITEM,
    features.TARGET_TIME,
)


class Signature(NamedTuple):
    """A function of the export: its positional and its named inputs."""

    function: Callable[..., dict[str, tf.Tensor]]
    inputs: list[tf.TensorSpec]
    named: Mapping[str, tf.TensorSpec] = types.MappingProxyType({})


class ServingModule:
    """A ranker behind the Transform graph.

    Args:
      ranker: the trained model.
      transform: the output of TensorFlow Transform.

    Raises:
      ValueError: if the Transform graph has no vocabulary of items, or of an event field.
    """

    def __init__(self, ranker: Ranker, transform: tft.TFTransformOutput):
        self.ranker = ranker
        self.transform = transform.transform_features_layer()
        spec = transform.raw_feature_spec()
        self._vocabulary = _vocabulary_file(transform, features.ITEM_VOCABULARY)
        # The files of the values of event fields, by their features.
        self._events = {
            features.history_feature(name): _vocabulary_file(
                transform, features.event_vocabulary(name)
            )
            for name in ranker.encoder.event_fields
        }
        self._spec = {name: spec[name] for name in (*_RAW_FEATURES, *self._events)}
        self._requests = Requests(
            self.transform, spec[features.HISTORY_ITEM].shape[0], tuple(self._events)
        )
        self._recommender = None
        if ranker.retrieval:
            vocabulary = transform.vocabulary_by_name(features.ITEM_VOCABULARY)
            self._recommender = Recommender(
                ranker, catalogue_of(ranker, vocabulary), self._requests
            )
        attributes, self._texts = ranker.encoder.attributes, None
        if attributes and attributes.table and ranker.block.has_attention_weights:
            self._texts = AttributeTexts(attributes)

    def save(self, folder: str) -> None:
        """Writes a SavedModel with all signatures and the warm-up requests.

        The signatures are `serving_default`, `classify`, `regress`, `rank`; `explain` if the
        model's block has attention weights; and those of `Recommender` if it has a first stage. A
        model with event fields needs their features in all.
        """
        # The saved object must own all that the signatures read. Of the ranker it owns the
        # variables alone, because Keras would add a training graph of every layer.
        module = tf.Module()
        module.transform, module.weights = self.transform, self._variables()
        if self.ranker.encoder.attributes:
            module.item_table = self.ranker.encoder.attributes.variables
        if self._texts:
            module.attribute_texts = self._texts.variables
        if self._recommender:
            module.catalogue = self._recommender.catalogue
            module.lookups = self._recommender.tables
        signatures = self._signatures()
        concrete = {
            name: tf.function(function, autograph=False).get_concrete_function(*inputs, **named)
            for name, (function, inputs, named) in signatures.items()
        }
        # Serving needs no gradients, and TensorFlow cannot save those of loops.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, folder, signatures=concrete, options=options)
        # `save` sets the method Predict for every signature.
        updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(folder)
        for name, method in METHODS.items():
            updater.replace_method_name(name, method)
        updater.save()
        attributes = self.ranker.encoder.attributes
        if attributes and attributes.table:  # names and source of the fields, for people
            path = os.path.join(folder, item_table.IN_EXPORT)
            tf.io.gfile.makedirs(os.path.dirname(path))
            tf.io.gfile.copy(os.path.join(attributes.table.folder, item_table.DESCRIPTION), path)
        warmup.write(folder, self._vocabulary, self._requests.length, set(signatures), self._events)

    def _variables(self) -> list[tf.Variable]:
        """The variables that the signatures read; of the first stage, those of the users."""
        variables = self.ranker.variables
        if self.ranker.retrieval:
            own = {id(each) for each in self.ranker.retrieval.variables}
            variables = [each for each in variables if id(each) not in own]
            variables += self.ranker.retrieval.tower.variables
        return variables

    def _signatures(self) -> dict[str, Signature]:
        string, integer = tf.string, tf.int64
        examples = [tf.TensorSpec([None], string, name="examples")]
        # TF Serving's Classify and Regress need an input of this name.
        inputs = [tf.TensorSpec([None], string, name="inputs")]
        history = [
            tf.TensorSpec([None, None], string, name=features.HISTORY_ITEM),
            tf.TensorSpec([None, None], integer, name=features.HISTORY_TIME),
            tf.TensorSpec([None], integer, name=features.HISTORY_LENGTH),
            tf.TensorSpec([None], integer, name=REQUEST_TIME),
        ]
        candidates = [tf.TensorSpec([None, None], string, name=CANDIDATES)]
        values = {name: tf.TensorSpec([None, None], string, name=name) for name in self._events}
        signatures = {
            "serving_default": Signature(self.score_examples, examples),
            "classify": Signature(self.classify, inputs),
            "regress": Signature(self.regress, inputs),
            "rank": Signature(self.rank, history + candidates, values),
        }
        if self.ranker.block.has_attention_weights:
            signatures["explain"] = Signature(self.explain, history + candidates, values)
        if self._recommender:
            signatures |= {
                name: Signature(function, history, further | values)
                for name, (function, further) in self._recommender.signatures().items()
            }
        return signatures

    def score_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities `score` `(B,)` of serialized raw tf.Examples `(B,)`; ignores labels."""
        raw = tf.io.parse_example(examples, self._spec)
        for name in (features.HISTORY_TIME, features.TARGET_TIME):
            raw[name] = in_seconds(name, raw[name])
        logits = self.ranker(self.transform(raw), training=False)
        return {"score": self.ranker.probabilities(tf.reshape(logits, [-1]))}

    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """`classes` `(B, 2)`, no and yes, and their probabilities `scores` `(B, 2)`."""
        score = self.score_examples(inputs)["score"]
        return {
            "classes": tf.tile(tf.constant([CLASSES]), [tf.size(score), 1]),
            "scores": tf.stack([1 - score, score], axis=1),
        }

    def regress(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """`outputs` `(B,)`, the same probabilities as `score_examples`."""
        return {"outputs": self.score_examples(inputs)["score"]}

    def rank(
        self,
        history_item: tf.Tensor,
        history_time: tf.Tensor,
        history_length: tf.Tensor,
        request_time: tf.Tensor,
        candidates: tf.Tensor,
        **events: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Probabilities of K candidates for each user. Encodes each history once.

        Args:
          history_item: ids `(B, H)`, oldest first, any H. Ids beyond `history_length` are
            not read.
          history_time: seconds since 1970 `(B, H)`.
          history_length: number of events in each history `(B,)`. The model reads the newest
            L of them; L is the history length of the training.
          request_time: seconds since 1970 `(B,)`.
          candidates: ids `(B, K)`.
          **events: values `(B, H)` of each event field, as in the ratings; "" is a missing one.

        Returns:
          a dict with `scores` `(B, K)`.
        """
        inputs, _ = self._requests.histories(
            history_item,
            history_time,
            history_length,
            request_time,
            events,
            {CANDIDATES: candidates},
        )
        count = tf.shape(candidates)[1]
        ids = self._requests.ids(_one_at_least(candidates))
        logits = self.ranker.score(self.ranker.encode(inputs), ids)
        return {"scores": self.ranker.probabilities(logits)[:, :count]}

    def explain(
        self,
        history_item: tf.Tensor,
        history_time: tf.Tensor,
        history_length: tf.Tensor,
        request_time: tf.Tensor,
        candidates: tf.Tensor,
        **events: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """The scores of `rank`, with the attention weight of each event.

        The arguments are those of `rank`. The answer is larger by a factor of N H, so ask for
        few candidates.

        Returns:
          a dict with `scores` `(B, K)` and `attention` `(B, N, K, H)`: the weights of N passes
          over the history, at the positions of the request; 0 for events that are not read. A
          model with attributes also gives `candidate_attributes` `(B, K)` and
          `history_attributes` `(B, H)`: what it knows of the items, as texts.
        """
        inputs, length = self._requests.histories(
            history_item,
            history_time,
            history_length,
            request_time,
            events,
            {CANDIDATES: candidates},
        )
        encoded = self.ranker.encode(inputs)
        count = tf.shape(candidates)[1]
        ids = self._requests.ids(_one_at_least(candidates))
        weights = self.ranker.attention_weights(encoded, ids)
        # The newest event has position length - 1 in the request and column L - 1 in the model.
        positions = tf.range(tf.shape(history_item, tf.int64)[1])
        columns = positions + (self._requests.length - length)[:, None]  # (B, H)
        read = (columns >= 0) & (columns < self._requests.length)
        columns = tf.where(read, columns, tf.zeros_like(columns))
        aligned = tf.gather(tf.transpose(weights, [0, 3, 1, 2]), columns, batch_dims=1)
        aligned *= tf.cast(read, aligned.dtype)[:, :, None, None]
        answer = {
            "scores": self.ranker.probabilities(self.ranker.score(encoded, ids))[:, :count],
            "attention": tf.transpose(aligned, [0, 2, 3, 1])[:, :, :count],
        }
        if self._texts:
            events = tf.where(positions < length[:, None], history_item, "")
            answer["candidate_attributes"] = self._texts(ids)[:, :count]
            answer["history_attributes"] = self._texts(self._requests.ids(events))
        return answer


def _vocabulary_file(transform: tft.TFTransformOutput, name: str) -> str:
    file = transform.vocabulary_file_by_name(name)
    if not file:
        raise ValueError(
            f"The Transform graph must have the vocabulary `{name}`. Received: none in "
            f"{transform.transform_savedmodel_dir}."
        )
    return file


def _one_at_least(candidates: tf.Tensor) -> tf.Tensor:
    """Candidates `(B, K)`, or one unknown id if K is 0, which some blocks cannot compute."""
    missing = 1 - tf.minimum(tf.shape(candidates)[1], 1)
    return tf.pad(candidates, [[0, 0], [0, missing]], constant_values="")
