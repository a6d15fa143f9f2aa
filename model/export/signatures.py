"""What a pushed model answers: raw features in, probabilities out.

All signatures hold the Transform graph, so that a client recomputes nothing,
and only operations of core TensorFlow, so that any server loads them.

Odd requests have defined answers. An id outside the vocabulary shares one of
the out-of-vocabulary rows, by its hash, with other such ids; a row that no
training reached keeps its first values. No candidates have no scores. Histories
may be empty and may repeat an id: each event counts. Order is that of the places,
not of the times; a time after the request counts as the request's, one before 1970
as 1970. What lies beyond `history_length` is never read, whatever a server's
batcher put there.
"""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from model.export import warmup
from model.ranker import Encoded, Ranker
from transforms import features

CANDIDATES = "candidates"
REQUEST_TIME = "request_time"
# Method names by which TF Serving knows what Classify and Regress may call.
METHODS = {
    "classify": tf.compat.v1.saved_model.signature_constants.CLASSIFY_METHOD_NAME,
    "regress": tf.compat.v1.saved_model.signature_constants.REGRESS_METHOD_NAME,
}
CLASSES = (b"no", b"yes")  # of `classify`: is the target the user's next event?
_NEEDED = (
    features.HISTORY_ITEM,
    features.HISTORY_TIME,
    features.HISTORY_LENGTH,
    features.TARGET_ITEM,
    features.TARGET_TIME,
)


class ServingModule:
    """A ranker with the Transform graph in front of it.

    Args:
      ranker: the trained model.
      transform: what TensorFlow Transform left.
    """

    def __init__(self, ranker: Ranker, transform: tft.TFTransformOutput):
        self.ranker = ranker
        self.transform = transform.transform_features_layer()
        spec = transform.raw_feature_spec()
        self._spec = {name: spec[name] for name in _NEEDED}
        self._length = spec[features.HISTORY_ITEM].shape[0]
        self._vocabulary = transform.vocabulary_file_by_name(features.ITEM_VOCABULARY) or ""

    def save(self, folder: str) -> None:
        """Writes a SavedModel: `serving_default`, `classify`, `regress`, `rank`, and warm-up.

        Beside them `explain`, if the model's block has attention weights.
        """
        string, integer = tf.string, tf.int64
        examples = [tf.TensorSpec([None], string, name="examples")]
        # TF Serving's Classify and Regress ask for an input of this name.
        inputs = [tf.TensorSpec([None], string, name="inputs")]
        history = [
            tf.TensorSpec([None, None], string, name=features.HISTORY_ITEM),
            tf.TensorSpec([None, None], integer, name=features.HISTORY_TIME),
            tf.TensorSpec([None], integer, name=features.HISTORY_LENGTH),
            tf.TensorSpec([None], integer, name=REQUEST_TIME),
            tf.TensorSpec([None, None], string, name=CANDIDATES),
        ]
        signatures = {
            "serving_default": (self.score_examples, examples),
            "classify": (self.classify, inputs),
            "regress": (self.regress, inputs),
            "rank": (self.rank, history),
        }
        if hasattr(self.ranker.block, "attention_weights"):
            signatures["explain"] = (self.explain, history)
        # What the signatures read must hang on what is saved. Of the ranker that is
        # its variables alone: Keras would add a training graph of every layer.
        module = tf.Module()
        module.transform, module.weights = self.transform, self.ranker.variables
        concrete = {
            name: tf.function(function, autograph=False).get_concrete_function(*specs)
            for name, (function, specs) in signatures.items()
        }
        # What answers has no use for gradients, and those of loops cannot be written.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, folder, signatures=concrete, options=options)
        # `save` knows no method but Predict.
        updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(folder)
        for name, method in METHODS.items():
            updater.replace_method_name(name, method)
        updater.save()
        warmup.write(folder, self._vocabulary, self._length, "explain" in signatures)

    def score_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities `score` `(B,)` of serialized raw tf.Examples `(B,)`, labels unread."""
        raw = tf.io.parse_example(examples, self._spec)
        logits = self.ranker(self.transform(raw), training=False)
        return {"score": tf.sigmoid(tf.reshape(logits, [-1]))}

    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """`classes` and `scores` `(B, 2)`: that the target is not, and that it is, the next."""
        score = self.score_examples(inputs)["score"]
        return {
            "classes": tf.tile(tf.constant([CLASSES]), [tf.size(score), 1]),
            "scores": tf.stack([1 - score, score], axis=1),
        }

    def regress(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """`outputs` `(B,)`, the probabilities of `score_examples`."""
        return {"outputs": self.score_examples(inputs)["score"]}

    def rank(
        self,
        history_item: tf.Tensor,
        history_time: tf.Tensor,
        history_length: tf.Tensor,
        request_time: tf.Tensor,
        candidates: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Probabilities of K candidates for each user; a history is encoded once.

        Args:
          history_item: ids `(B, H)`, oldest first, any H; what lies beyond
            `history_length` is not read.
          history_time: seconds `(B, H)`.
          history_length: how many of the H are filled, `(B,)`. The newest L of
            them are used, L being the length the model was trained with.
          request_time: seconds `(B,)`.
          candidates: ids `(B, K)`.

        Returns:
          `scores` `(B, K)`.
        """
        encoded, _ = self._encoded(
            history_item, history_time, history_length, request_time, candidates
        )
        count = tf.shape(candidates)[1]
        logits = self.ranker.score(encoded, self._ids(_one_at_least(candidates)))
        return {"scores": tf.sigmoid(logits)[:, :count]}

    def explain(
        self,
        history_item: tf.Tensor,
        history_time: tf.Tensor,
        history_length: tf.Tensor,
        request_time: tf.Tensor,
        candidates: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """What `rank` answers, and how much each event of a history weighed in it.

        Args: as of `rank`. The answer is H times as large: ask for the few
        candidates that are to be shown.

        Returns:
          `scores` `(B, K)`, and `attention` `(B, N, K, H)`: the weights in each of N
          passes over the history, in the places of the request; 0 where the
          history is not read.
        """
        encoded, length = self._encoded(
            history_item, history_time, history_length, request_time, candidates
        )
        count = tf.shape(candidates)[1]
        ids = self._ids(_one_at_least(candidates))
        weights = self.ranker.block.attention_weights(
            encoded.history, encoded.mask, self.ranker.encoder.candidates(ids)
        )
        # The newest event is in the last of the model's L places, and in place length - 1.
        places = tf.range(tf.shape(history_item, tf.int64)[1])
        columns = places + (self._length - length)[:, None]  # (B, H)
        read = (columns >= 0) & (columns < self._length)
        columns = tf.where(read, columns, tf.zeros_like(columns))
        moved = tf.gather(tf.transpose(weights, [0, 3, 1, 2]), columns, batch_dims=1)
        moved *= tf.cast(read, moved.dtype)[:, :, None, None]
        return {
            "scores": tf.sigmoid(self.ranker.score(encoded, ids))[:, :count],
            "attention": tf.transpose(moved, [0, 2, 3, 1])[:, :, :count],
        }

    def _encoded(
        self,
        history_item: tf.Tensor,
        history_time: tf.Tensor,
        history_length: tf.Tensor,
        request_time: tf.Tensor,
        candidates: tf.Tensor,
    ) -> tuple[Encoded, tf.Tensor]:
        """The histories of a request, encoded, and their lengths `(B,)` before they are cut."""
        # Broadcasting would answer some requests whose parts do not belong together.
        rows, places = tf.shape(history_item)[0], tf.shape(history_item)[1]
        checks = [
            tf.debugging.assert_equal(
                tf.shape(value),
                tf.stack(shape),
                f"`{name}` must have the shape {words}, B and H being those of "
                f"`{features.HISTORY_ITEM}`.",
            )
            for name, value, shape, words in (
                (features.HISTORY_TIME, history_time, [rows, places], "(B, H)"),
                (features.HISTORY_LENGTH, history_length, [rows], "(B,)"),
                (REQUEST_TIME, request_time, [rows], "(B,)"),
                (CANDIDATES, candidates, [rows, tf.shape(candidates)[1]], "(B, K)"),
            )
        ]
        with tf.control_dependencies(checks):
            history_item = tf.identity(history_item)
        length = tf.clip_by_value(history_length, 0, tf.shape(history_item, tf.int64)[1])
        kept = tf.minimum(length, self._length)
        raw = {
            features.HISTORY_ITEM: _newest(history_item, length, self._length, ""),
            features.HISTORY_TIME: _newest(history_time, length, self._length, 0),
            features.HISTORY_LENGTH: kept[:, None],
            features.TARGET_ITEM: tf.fill([tf.size(length), 1], ""),
            features.TARGET_TIME: request_time[:, None],
        }
        return self.ranker.encode(self.transform(raw)), length

    def _ids(self, items: tf.Tensor) -> tf.Tensor:
        """Ids of any items `(B, K)`, looked up L at a time as if they were histories.

        The Transform graph takes whole samples; one sample for every candidate
        would look up L items of padding for each.
        """
        flat = tf.reshape(items, [-1])
        rows = -(-tf.size(flat) // self._length)
        flat = tf.pad(flat, [[0, rows * self._length - tf.size(flat)]], constant_values="")
        samples = tf.reshape(flat, [rows, self._length])
        raw = {
            features.HISTORY_ITEM: samples,
            features.HISTORY_TIME: tf.zeros_like(samples, tf.int64),
            features.HISTORY_LENGTH: tf.fill([rows, 1], tf.constant(self._length, tf.int64)),
            features.TARGET_ITEM: tf.fill([rows, 1], ""),
            features.TARGET_TIME: tf.zeros([rows, 1], tf.int64),
        }
        ids = tf.reshape(self.transform(raw)[features.HISTORY_ITEM], [-1])
        return tf.reshape(ids[: tf.size(items)], tf.shape(items))


def _one_at_least(candidates: tf.Tensor) -> tf.Tensor:
    """Candidates `(B, K)`, or one unknown where K is 0, which not every block can compute."""
    missing = 1 - tf.minimum(tf.shape(candidates)[1], 1)
    return tf.pad(candidates, [[0, 0], [0, missing]], constant_values="")


def _newest(values: tf.Tensor, length: tf.Tensor, count: int, padding: Any) -> tf.Tensor:
    """The newest `count` of the first `length` values of each row, padded on the right."""
    # One more column, so that there is something to gather from an empty one.
    values = tf.pad(values, [[0, 0], [0, 1]], constant_values=padding)
    places = tf.maximum(length - count, 0)[:, None] + tf.range(tf.constant(count, tf.int64))
    filled = places < length[:, None]
    last = tf.shape(values, tf.int64)[1] - 1
    found = tf.gather(values, tf.where(filled, places, last), batch_dims=1)
    return tf.where(filled, found, tf.constant(padding, values.dtype))
