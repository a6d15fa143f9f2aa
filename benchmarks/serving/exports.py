"""SavedModels, requests and a server process for the serving benchmark.

The Transform graph is real and the weights are untrained: latency does not depend on
their values.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
import psutil

from transforms import features

NOW, DAY = 1_400_000_000, 86_400
OOV = 8
_START_SECONDS = 300.0


def item(number: int) -> bytes:
    """An item id in the form of Amazon's."""
    return b"B%09d" % number


def export(arguments: tuple[dict[str, tuple[str, int]], int, int]) -> None:
    """Writes SavedModels like the Trainer's, all with the same Transform graph.

    Args:
      arguments: SavedModel folder to preset and seed of the weights; size of the vocabulary;
        history length L.
    """
    folders, items, length = arguments
    import tensorflow as tf
    import tensorflow_transform as tft

    from model import presets
    from model.export.signatures import ServingModule
    from model.ranker import build_ranker
    from model.scorer import DataSpec

    with tempfile.TemporaryDirectory() as scratch:
        transform = tft.TFTransformOutput(transform_graph(scratch, items, length))
        vocabulary = transform.vocabulary_size_by_name(features.ITEM_VOCABULARY)
        for folder, (preset, seed) in folders.items():
            # A larger scale, so that scores differ.
            config, recipe = presets.resolve(preset, "", {"table_initial_scale": 0.3})
            tf.keras.utils.set_random_seed(seed)
            ranker = build_ranker(config, DataSpec(1 + OOV + vocabulary, length), recipe)
            ServingModule(ranker, transform).save(folder)


def transform_graph(folder: str, items: int, length: int) -> str:
    """Writes a Transform graph with a vocabulary of `items` items."""
    import apache_beam as beam
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata

    from pipeline.schema import filled_schema
    from transforms import graph

    rows = []
    for begin in range(0, items, length):
        names = [item(number % items) for number in range(begin, begin + length)]
        rows.append(
            {
                features.USER_ID: [b"u"],
                features.HISTORY_ITEM: names,
                features.HISTORY_TIME: _times(length).tolist(),
                features.HISTORY_LENGTH: [length],
                features.TARGET_ITEM: [names[-1]],
                features.TARGET_TIME: [NOW],
                features.LABEL: [1],
                features.HISTORY_BUCKET: [b"long"],
                features.TARGET_BUCKET: [b"100+"],
            }
        )
    config = {"min_item_count": 1, "max_vocabulary_size": items, "oov_buckets": OOV}
    config["time_unit"] = DAY
    schema = filled_schema(length)
    metadata = dataset_metadata.DatasetMetadata(schema)
    output = os.path.join(folder, "transform")
    options = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
    with (
        tft_beam.Context(temp_dir=os.path.join(folder, "temporary")),
        beam.Pipeline(argv=options) as job,
    ):
        samples = job | "Samples" >> beam.Create(rows)
        graph.write((samples, metadata), schema, config, output)
    return output


def rank_inputs(
    rng: np.random.Generator, items: int, candidates: int, length: int
) -> dict[str, np.ndarray]:
    """Inputs of `rank`: one user with a full history `(1, L)` and candidates `(1, K)`."""
    return {
        features.HISTORY_ITEM: _items(rng, items, length),
        features.HISTORY_TIME: _times(length)[None],
        features.HISTORY_LENGTH: np.array([length], np.int64),
        "request_time": np.array([NOW], np.int64),
        "candidates": _items(rng, items, candidates),
    }


def tiled_inputs(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs of `serving_default`: one Example with the whole history for each candidate."""
    import tensorflow as tf

    example = tf.train.Example()
    feature = example.features.feature
    feature[features.HISTORY_ITEM].bytes_list.value.extend(inputs[features.HISTORY_ITEM][0])
    for name in (features.HISTORY_TIME, features.HISTORY_LENGTH):
        feature[name].int64_list.value.extend(np.ravel(inputs[name]))
    feature[features.TARGET_TIME].int64_list.value.extend(inputs["request_time"])
    rows = []
    for candidate in inputs["candidates"][0]:
        feature[features.TARGET_ITEM].bytes_list.value[:] = [candidate]
        rows.append(example.SerializeToString())
    return {"examples": np.array(rows, object)}


def message(model: str, signature: str, inputs: dict[str, np.ndarray]) -> bytes:
    """A serialized PredictRequest."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request.SerializeToString()


def _items(rng: np.random.Generator, items: int, count: int) -> np.ndarray:
    return np.array([[item(number) for number in rng.integers(0, items, count)]], object)


def _times(length: int) -> np.ndarray:
    return NOW - DAY * np.arange(length, 0, -1, dtype=np.int64)


class ServerProcess:
    """Starts the embedded server like `make serve`, on free ports.

    Args:
      models: folder of the models.
      log: file for its output.
      options: further arguments.

    Raises:
      SystemExit: if the server does not start.
    """

    def __init__(self, models: pathlib.Path, log: pathlib.Path, *options: str):
        command = [sys.executable, "-m", "serving.server", "--models", str(models)]
        with open(log, "w") as file:
            self._process = subprocess.Popen(
                [*command, "--grpc-port", "0", "--rest-port", "0", *options],
                stdout=file,
                stderr=file,
                env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            )
        self._statistics = psutil.Process(self._process.pid)
        end = time.monotonic() + _START_SECONDS
        while not (ready := re.search(r"Ready: gRPC on (\S+:\d+)", log.read_text())):
            if self._process.poll() is not None or time.monotonic() > end:
                self._process.kill()
                raise SystemExit(f"The server did not start. Its output:\n{log.read_text()}")
            time.sleep(0.1)
        self.address = ready[1].rstrip(",")

    def memory_mb(self) -> float:
        """Resident memory of the server in MB."""
        return self._statistics.memory_info().rss / 2**20

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
