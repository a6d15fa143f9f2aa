"""Fixtures for all tests: a small world of a Transform graph and transformed samples on disk."""

import os

# Before TensorFlow is imported by any test: Keras 2, and less noise.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

from pipeline.schema import filled_schema
from transforms import features, preprocessing

L = 6
OOV = 2
ITEMS = 60
NOW = 1_400_000_000
DAY = 86_400


@dataclasses.dataclass
class World:
    """Folders of a Transform graph and of its samples, and the raw ones of eval."""

    length = L
    oov_buckets = OOV

    root: pathlib.Path
    transform: str
    train: str
    eval: str
    raw: list[dict]

    @property
    def examples(self):
        """The raw samples of eval, serialized."""
        return [example(row) for row in self.raw]


def raw_sample(history, target, label=1, days=None):
    """Raw features; `days` are counted back from the request, newest last."""
    days = range(len(history), 0, -1) if days is None else days
    padding = L - len(history)
    return {
        features.USER_ID: [b"u"],
        features.HISTORY_ITEM: [*history, *[b""] * padding],
        features.HISTORY_TIME: [*(NOW - day * DAY for day in days), *[0] * padding],
        features.HISTORY_LENGTH: [len(history)],
        features.TARGET_ITEM: [target],
        features.TARGET_TIME: [NOW],
        features.LABEL: [label],
        features.HISTORY_BUCKET: [b"short"],
        features.TARGET_BUCKET: [b"0"],
    }


def example(values):
    """A serialized tf.Example of a dict of lists."""
    proto = tf.train.Example()
    for name, of in values.items():
        feature = proto.features.feature[name]
        (feature.bytes_list if isinstance(of[0], bytes) else feature.int64_list).value.extend(
            int(value) if not isinstance(value, bytes) else value for value in of
        )
    return proto.SerializeToString()


def samples(rng, users):
    """Users who like the items of one half, and pairs of a liked and another target."""
    rows = []
    for _ in range(users):
        half = rng.integers(2) * (ITEMS // 2)
        liked = [b"i%03d" % item for item in half + rng.permutation(ITEMS // 2)[: L + 1]]
        other = b"i%03d" % (ITEMS // 2 - half + rng.integers(ITEMS // 2))
        history = liked[: rng.integers(0, L + 1)]
        rows += [raw_sample(history, liked[-1], 1), raw_sample(history, other, 0)]
    return rows


def write_samples(path, rows):
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for row in rows:
            writer.write(
                example({name: np.asarray(value).reshape(-1) for name, value in row.items()})
            )


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(1)
    config = {"min_item_count": 1, "max_vocabulary_size": 1000, "oov_buckets": OOV}
    config["time_unit"] = DAY
    train, evaluation = samples(rng, 1500), samples(rng, 200)
    metadata = dataset_metadata.DatasetMetadata(filled_schema(L))
    transform = str(root / "transform")
    with tft_beam.Context(temp_dir=str(root / "temporary")):
        transform_fn = (train, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing.preprocessing_fn(inputs, config)
        )
        _ = transform_fn | tft_beam.WriteTransformFn(transform)
        rows, _ = ((train + evaluation, metadata), transform_fn) | tft_beam.TransformDataset()
    output = tft.TFTransformOutput(transform)
    metadata_io.write_metadata(metadata, f"{transform}/{output.RAW_METADATA_DIR}")
    for name, part in (("train", rows[: len(train)]), ("eval", rows[len(train) :])):
        (root / name).mkdir()
        for shard in range(2):
            write_samples(root / name / f"part-{shard}.gz", part[shard::2])
    return World(root, transform, str(root / "train"), str(root / "eval"), evaluation)


@pytest.fixture
def float64():
    """Layers made in a test compute in double precision."""
    tf.keras.backend.set_floatx("float64")
    yield
    tf.keras.backend.set_floatx("float32")
