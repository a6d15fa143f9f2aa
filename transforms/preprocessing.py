"""Turns raw features into the inputs of a model: ids and buckets of elapsed time.

TensorFlow Transform analyses the training split once and freezes the result into a graph. Training
reads the output of that graph; serving runs the graph. The result does not depend on the order or
size of a batch.
"""

import io
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from transforms import features, item_ids

# Later than any clock, and small enough that differences cannot overflow.
_LATEST = 1 << 50
_HASHES = 1 << 62


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """TFX Transform calls this function.

    Args:
      inputs: raw features by name, dense: `history_item`, `history_time` and the features of
        event fields `(B, L)`, the others `(B, 1)`.
      custom_config: the settings `min_item_count`, `max_vocabulary_size`, `oov_buckets` and
        `time_unit`. With `min_item_count` above 1 also `frequent_items`: the path of a `.npy`
        file with the sorted `item_hashes` of the items that have as many events. Samples cannot
        say it, because each event is in the histories of several samples. With an item table
        also `catalogue`: the file with the raw id of each of its rows. With event fields also
        `event_fields`, the setting.

    Returns:
      `history_item` and `history_elapsed` int64 `(B, L)`, 0 at padding;
      `history_length`, `target_item`, `label` and `user` int64 `(B, 1)`; and the value ids of
      event fields int64 `(B, L)`, under the names of their raw features.
    """
    history = inputs[features.HISTORY_ITEM]
    target = inputs[features.TARGET_ITEM]
    length = inputs[features.HISTORY_LENGTH]
    items = tf.concat([history, target], axis=1)
    if custom_config["min_item_count"] > 1:
        with tf.io.gfile.GFile(custom_config["frequent_items"], "rb") as file:
            frequent = np.append(np.load(io.BytesIO(file.read())), np.iinfo(np.int64).max)
        hashes = tf.reshape(item_hashes(items), [-1])
        found = tf.gather(frequent, tf.searchsorted(frequent, hashes)) == hashes
        # "" is not counted.
        items = tf.where(tf.reshape(found, tf.shape(items)), items, tf.zeros_like(items))
    vocabulary = tft.vocabulary(
        items,
        top_k=custom_config["max_vocabulary_size"],
        vocab_filename=features.ITEM_VOCABULARY,
    )
    ids = {"vocabulary": vocabulary, "oov_buckets": custom_config["oov_buckets"]}
    if custom_config.get("catalogue"):
        ids["catalogue"] = item_ids.catalogue_rows(custom_config["catalogue"])
    filled = tf.sequence_mask(length[:, 0], tf.shape(history)[1])
    elapsed = elapsed_buckets(
        inputs[features.HISTORY_TIME], inputs[features.TARGET_TIME], custom_config["time_unit"]
    )
    events = {
        features.history_feature(name): _event_values(
            inputs[features.history_feature(name)],
            filled,
            features.event_vocabulary(name),
            custom_config["max_vocabulary_size"],
        )
        for name in features.event_fields(custom_config.get("event_fields", ""))
    }
    return {
        features.HISTORY_ITEM: item_ids.lookup(history, **ids),
        features.HISTORY_ELAPSED: tf.where(filled, elapsed, tf.zeros_like(elapsed)),
        features.HISTORY_LENGTH: length,
        features.TARGET_ITEM: item_ids.lookup(target, **ids),
        features.LABEL: inputs[features.LABEL],
        features.USER: tf.strings.to_hash_bucket_fast(inputs[features.USER_ID], _HASHES),
        **events,
    }


def _event_values(values: tf.Tensor, filled: tf.Tensor, name: str, most: int) -> tf.Tensor:
    """Value ids int64 `(B, L)` of one event field; see `features`.

    Args:
      values: raw values `(B, L)`; a missing one is "".
      filled: `(B, L)`, True for events.
      name: of the vocabulary.
      most: values that the vocabulary holds at most; the others are unknown.
    """
    values = tf.strings.substr(values, 0, features.LONGEST_EVENT_VALUE, unit="UTF8_CHAR")
    vocabulary = tft.vocabulary(values, top_k=most, vocab_filename=name)
    known = tft.apply_vocabulary(values, vocabulary, default_value=-1)
    ids = tf.where(known >= 0, known + features.FIRST_EVENT_VALUE, features.EVENT_MISSING)
    return tf.where(filled, ids, tf.zeros_like(ids))


def item_hashes(items: Any) -> tf.Tensor:
    """Hashes of item ids, int64 in the shape of `items`."""
    return tf.strings.to_hash_bucket_fast(items, _HASHES)


def elapsed_buckets(event_time: tf.Tensor, request_time: tf.Tensor, unit: int) -> tf.Tensor:
    """Exponential buckets of the time from an event to the request.

    `[0, 1) -> 0`, `[1, 2) -> 1`, `[2, 4) -> 2`, ... `[2^k, 2^(k+1)) -> k + 1`,
    in units of `unit` seconds (IMN paper, section on the encoder). An event
    after the request counts as happening with it.

    Args:
      event_time: int64 seconds `(B, L)`.
      request_time: int64 seconds `(B, 1)`.
      unit: seconds in a unit.

    Returns:
      int64 `(B, L)` in `[0, NUM_TIME_BUCKETS)`.
    """
    event_time, request_time = (
        tf.clip_by_value(tf.cast(time, tf.int64), 0, _LATEST) for time in (event_time, request_time)
    )
    units = tf.maximum(request_time - event_time, 0) // unit
    bounds = tf.constant([1 << k for k in range(features.NUM_TIME_BUCKETS - 1)], tf.int64)
    flat = tf.searchsorted(bounds, tf.reshape(units, [-1]), side="right", out_type=tf.int64)
    return tf.reshape(flat, tf.shape(units))
