"""A world with event fields: ratings, ingested and transformed, with a model and its export."""

import dataclasses
import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

from model import presets
from model.export.signatures import ServingModule
from model.ranker import Ranker, build_ranker
from model.scorer import DataSpec
from model.trainer import event_values
from pipeline.schema import filled_schema
from tests.support.raw_examples import DAY, example, raw_sample
from transforms import features, preprocessing

L, OOV = 6, 2
FIELDS = "rating,by hand,none"  # the second has a name of two words, the third no values
RATINGS = [b"5.0", b"1.0", b"", b"4.0"]
CONFIG = {
    "min_item_count": 1,
    "max_vocabulary_size": 1000,
    "oov_buckets": OOV,
    "time_unit": DAY,
    "event_fields": FIELDS,
}


@dataclasses.dataclass
class EventWorld:
    """Raw samples, the folder of their Transform graph, what it made of them, and a ranker."""

    raw: list[dict]
    transform: str
    rows: list[dict]
    ranker: Ranker
    export: str

    @property
    def examples(self) -> list[bytes]:
        """The raw samples, serialized."""
        return [example(row) for row in self.raw]

    @property
    def output(self) -> tft.TFTransformOutput:
        """The Transform graph."""
        return tft.TFTransformOutput(self.transform)


def samples(rng: np.random.Generator, count: int) -> list[dict]:
    """Samples whose events have a rating by item, and a word that every third event lacks."""
    rows = []
    for _ in range(count):
        items = rng.integers(0, 20, rng.integers(0, L + 1)).tolist()
        row = raw_sample(L, [b"i%03d" % item for item in items], b"i%03d" % rng.integers(20))
        padding = [b""] * (L - len(items))
        row["history_rating"] = [*(RATINGS[item % 4] for item in items), *padding]
        row["history_by_hand"] = [
            *(b"" if item % 3 == 0 else b"w%d" % (item % 5) for item in items),
            *padding,
        ]
        row["history_none"] = [b""] * L
        rows.append(row)
    return rows


def make(root: pathlib.Path, model: str = "imn_3p_plus") -> EventWorld:
    """Everything, under a folder."""
    raw = samples(np.random.default_rng(1), 120)
    metadata = dataset_metadata.DatasetMetadata(filled_schema(L, FIELDS))
    transform = str(root / "transform")
    with tft_beam.Context(temp_dir=str(root / "temporary")):
        transform_fn = (raw, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing.preprocessing_fn(inputs, CONFIG)
        )
        _ = transform_fn | tft_beam.WriteTransformFn(transform)
        rows, _ = ((raw, metadata), transform_fn) | tft_beam.TransformDataset()
    output = tft.TFTransformOutput(transform)
    metadata_io.write_metadata(metadata, f"{transform}/{output.RAW_METADATA_DIR}")
    config, recipe = presets.resolve(
        model, "embedding_dim=8,head_units=8", {"table_initial_scale": 0.5}
    )
    items = 1 + OOV + output.vocabulary_size_by_name(features.ITEM_VOCABULARY)
    tf.keras.utils.set_random_seed(3)
    inputs = DataSpec(items, L, event_fields=event_values(output, FIELDS))
    ranker = build_ranker(config, inputs, recipe)
    export = str(root / "export")
    ServingModule(ranker, output).save(export)
    return EventWorld(raw, transform, rows, ranker, export)
