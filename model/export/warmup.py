"""Warm-up requests: TF Serving and the embedded server run them before a version takes traffic."""

import itertools
import os
import types
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from model.export import item_filter
from transforms import features

# TF Serving reads this file in the folder of a SavedModel.
FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
_CANDIDATES = (1, 200)
_EXPLAINED = 10
_RECOMMENDED = 10
_NOW, _DAY = 1_400_000_000, 86_400


def write(
    folder: str,
    vocabulary_file: str,
    length: int,
    signatures: Collection[str] = (),
    values_files: Mapping[str, str] = types.MappingProxyType({}),
) -> None:
    """Writes requests for every signature, with ids of the vocabulary, into a SavedModel.

    Args:
      folder: the SavedModel.
      vocabulary_file: one known id per line, most frequent first.
      length: L; one history has this length, another is empty.
      signatures: names of the signatures of the SavedModel.
      values_files: one known value per line, of each feature of an event field.
    """
    vocabulary = _first_lines(vocabulary_file)
    values = {name: _first_lines(file) for name, file in values_files.items()}
    path = os.path.join(folder, FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for log in requests(vocabulary, length, signatures, values):
            # The pusher compares files, so the same model must have the same bytes.
            writer.write(log.SerializeToString(deterministic=True))


def requests(
    vocabulary: Sequence[bytes],
    length: int,
    signatures: Collection[str] = (),
    values: Mapping[str, Sequence[bytes]] = types.MappingProxyType({}),
) -> list[prediction_log_pb2.PredictionLog]:
    """The requests in TF Serving's log format, the largest one first. Arguments: see `write`."""
    examples = [_example(vocabulary, length, filled, values) for filled in (length, 0)]
    logs = []
    history = _history(vocabulary, length, values)
    for signature, count in (
        *(("rank", n) for n in reversed(_CANDIDATES)),
        ("explain", _EXPLAINED),
    ):
        if signature in signatures:
            candidates = np.array([_items(vocabulary, count)], object)
            logs.append(_predict(signature, history | {"candidates": candidates}))
    k = {"k": np.array([_RECOMMENDED], np.int64)}
    for signature, others in (
        ("recommend", {}),
        ("recommend_filtered", _unfiltered()),
        ("retrieve", {}),
    ):
        if signature in signatures:
            logs.append(_predict(signature, history | k | others))
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "serving_default"
    serialized = [example.SerializeToString(deterministic=True) for example in examples]
    log.predict_log.request.inputs["examples"].CopyFrom(tf.make_tensor_proto(serialized))
    logs.append(log)
    for name, kind in (("classify", "classify_log"), ("regress", "regress_log")):
        log = prediction_log_pb2.PredictionLog()
        request = getattr(log, kind).request
        request.model_spec.signature_name = name
        request.input.example_list.examples.extend(examples)
        logs.append(log)
    return logs


def _unfiltered() -> dict[str, np.ndarray]:
    """The inputs of `ItemFilter` that allow all but the history."""
    lists = (item_filter.EXCLUDE, item_filter.ONLY_ITEMS, item_filter.ONLY_VALUES)
    nothing = dict.fromkeys(lists, np.array([[b""]], object))
    return {item_filter.EXCLUDE_HISTORY: np.array([True])} | nothing


def _first_lines(path: str) -> list[bytes]:
    with tf.io.gfile.GFile(path, "rb") as file:
        return [line.rstrip(b"\n") for line in itertools.islice(file, _CANDIDATES[-1])]


def _items(vocabulary: Sequence[bytes], count: int) -> list[bytes]:
    """`count` known ids, most frequent first; they repeat if the vocabulary is smaller."""
    return [vocabulary[index % len(vocabulary)] for index in range(count)]


def _times(length: int) -> list[int]:
    return [_NOW - day * _DAY for day in range(length, 0, -1)]


def _predict(signature: str, inputs: Mapping[str, np.ndarray]) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log


def _history(
    vocabulary: Sequence[bytes], length: int, values: Mapping[str, Sequence[bytes]]
) -> dict[str, np.ndarray]:
    return {
        features.HISTORY_ITEM: np.array([_items(vocabulary, length)], object),
        features.HISTORY_TIME: np.array([_times(length)], np.int64),
        features.HISTORY_LENGTH: np.array([length], np.int64),
        "request_time": np.array([_NOW], np.int64),
        **{name: np.array([_items(known, length)], object) for name, known in values.items()},
    }


def _example(
    vocabulary: Sequence[bytes], length: int, filled: int, values: Mapping[str, Sequence[bytes]]
) -> tf.train.Example:
    padding = length - filled
    example = tf.train.Example()
    feature = example.features.feature
    for name, known in {features.HISTORY_ITEM: vocabulary, **values}.items():
        texts = [*_items(known, filled), *[b""] * padding]
        feature[name].bytes_list.value.extend(texts)
    feature[features.HISTORY_TIME].int64_list.value.extend([*_times(filled), *[0] * padding])
    feature[features.HISTORY_LENGTH].int64_list.value.append(filled)
    feature[features.TARGET_ITEM].bytes_list.value.append(vocabulary[0])
    feature[features.TARGET_TIME].int64_list.value.append(_NOW)
    return example
