"""Turns raw features into the inputs of a model: ids and buckets of elapsed time.

TensorFlow Transform analyses the training split once and freezes the result into a graph. Training
reads the output of that graph; serving runs the graph. The result does not depend on the order or
size of a batch.
"""

import io
import os
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
        `event_fields`, the setting. With `vocabularies`, a folder, the vocabularies are its files
        by name; otherwise TensorFlow Transform counts them.

    Returns:
      `history_item` and `history_elapsed` int64 `(B, L)`, 0 at padding;
      `history_length`, `target_item`, `label` and `user` int64 `(B, 1)`; and the value ids of
      event fields int64 `(B, L)`, under the names of their raw features.
    """
    history = inputs[features.HISTORY_ITEM]
    target = inputs[features.TARGET_ITEM]
    length = inputs[features.HISTORY_LENGTH]
    vocabularies = {
        name: _vocabulary(name, strings, custom_config)
        for name, strings in counted_strings(inputs, custom_config).items()
    }
    ids = {
        "vocabulary": vocabularies[features.ITEM_VOCABULARY],
        "oov_buckets": custom_config["oov_buckets"],
    }
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
            vocabularies[features.event_vocabulary(name)],
        )
        for name in _event_fields(custom_config)
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


def counted_features(custom_config: dict[str, Any]) -> list[str]:
    """The raw features that `counted_strings` reads."""
    events = [features.history_feature(name) for name in _event_fields(custom_config)]
    return [features.HISTORY_ITEM, features.TARGET_ITEM, *events]


def counted_strings(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """The strings of a batch that each vocabulary counts, by its name; "" does not count.

    Args:
      inputs: `counted_features`, as for `preprocessing_fn`.
      custom_config: of `preprocessing_fn`.
    """
    items = tf.concat([inputs[features.HISTORY_ITEM], inputs[features.TARGET_ITEM]], axis=1)
    if custom_config["min_item_count"] > 1:
        with tf.io.gfile.GFile(custom_config["frequent_items"], "rb") as file:
            frequent = np.append(np.load(io.BytesIO(file.read())), np.iinfo(np.int64).max)
        hashes = tf.reshape(item_hashes(items), [-1])
        found = tf.gather(frequent, tf.searchsorted(frequent, hashes)) == hashes
        items = tf.where(tf.reshape(found, tf.shape(items)), items, tf.zeros_like(items))
    events = {
        features.event_vocabulary(name): _shortened(inputs[features.history_feature(name)])
        for name in _event_fields(custom_config)
    }
    return {features.ITEM_VOCABULARY: items, **events}


def _event_fields(custom_config: dict[str, Any]) -> tuple[str, ...]:
    return features.event_fields(custom_config.get("event_fields", ""))


def _vocabulary(name: str, strings: tf.Tensor, custom_config: dict[str, Any]) -> Any:
    """What `tft.apply_vocabulary` takes for a vocabulary: a path, now or after the analysis."""
    if custom_config.get("vocabularies"):
        tft.annotate_asset(name, name)
        return os.path.join(custom_config["vocabularies"], name)
    return tft.vocabulary(strings, top_k=custom_config["max_vocabulary_size"], vocab_filename=name)


def _shortened(values: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(values, 0, features.LONGEST_EVENT_VALUE, unit="UTF8_CHAR")


def _event_values(values: tf.Tensor, filled: tf.Tensor, vocabulary: Any) -> tf.Tensor:
    """Value ids int64 `(B, L)` of one event field; see `features`.

    Args:
      values: raw values `(B, L)`; a missing one is "".
      filled: `(B, L)`, True for events.
      vocabulary: of `_vocabulary`; values outside of it are unknown.
    """
    known = tft.apply_vocabulary(_shortened(values), vocabulary, default_value=-1)
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
