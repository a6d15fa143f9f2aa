"""Fixtures for all tests: a small world of a Transform graph and transformed samples on disk."""

import os

# Before TensorFlow is imported by any test: Keras 2, and less noise.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import pathlib

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata

from model import presets
from model.export.signatures import ServingModule
from model.ranker import build_ranker
from model.scorer import DataSpec
from pipeline.schema import filled_schema
from tests.support.raw_examples import DAY, example, raw_sample, write
from transforms import features, graph

# The same examples in each run: what passed once does not fail later for other people.
# HYPOTHESIS_PROFILE=random looks for new ones.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.register_profile("random")
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

L = 6
OOV = 2
ITEMS = 60


def pytest_configure(config):
    config.addinivalue_line("markers", "cluster: starts the processes of a cluster; a minute")


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


def samples(rng, users):
    """Users who like the items of one half, and pairs of a liked and another target."""
    rows = []
    for _ in range(users):
        half = rng.integers(2) * (ITEMS // 2)
        liked = [b"i%03d" % item for item in half + rng.permutation(ITEMS // 2)[: L + 1]]
        other = b"i%03d" % (ITEMS // 2 - half + rng.integers(ITEMS // 2))
        history = liked[: rng.integers(0, L + 1)]
        rows += [raw_sample(L, history, liked[-1]), raw_sample(L, history, other, label=0)]
    return rows


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
        transform_fn = graph.write((train, metadata), filled_schema(L), config, transform)
        rows, _ = ((train + evaluation, metadata), transform_fn) | tft_beam.TransformDataset()
    for name, part in (("train", rows[: len(train)]), ("eval", rows[len(train) :])):
        (root / name).mkdir()
        for shard in range(2):
            flat = [{k: np.reshape(v, -1) for k, v in row.items()} for row in part[shard::2]]
            write(root / name / f"part-{shard}.gz", flat)
    return World(root, transform, str(root / "train"), str(root / "eval"), evaluation)


@pytest.fixture(scope="session")
def ranker(world):
    """A small IMN for the items of `world`, untrained."""
    config, recipe = presets.resolve(
        "imn_3p_plus", "embedding_dim=8,head_units=8", {"table_initial_scale": 0.5}
    )
    transform = tft.TFTransformOutput(world.transform)
    items = 1 + OOV + transform.vocabulary_size_by_name(features.ITEM_VOCABULARY)
    tf.keras.utils.set_random_seed(3)
    ranker = build_ranker(config, DataSpec(items, L), recipe, retrieval=20)
    counts = np.random.default_rng(2).integers(0, 90, (items + 1, 2))
    ranker.retrieval.target_counts.assign(counts)  # as a training would
    return ranker


@pytest.fixture(scope="session")
def export(world, ranker, tmp_path_factory):
    """The folder of `ranker` as a SavedModel."""
    folder = str(tmp_path_factory.mktemp("export") / "model")
    ServingModule(ranker, tft.TFTransformOutput(world.transform)).save(folder)
    return folder


@pytest.fixture
def float64():
    """Layers made in a test compute in double precision."""
    tf.keras.backend.set_floatx("float64")
    yield
    tf.keras.backend.set_floatx("float32")
