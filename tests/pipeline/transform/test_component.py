"""The executor of Transform on files of Examples: what it leaves, and where."""

import pathlib

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from tfx import v1 as tfx
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import json_utils, proto_utils

from pipeline.ingest import arrow_files, stages
from pipeline.schema import filled_schema
from pipeline.transform import component
from tests.support import raw_examples
from transforms import features

L = 3
COUNTS = {b"a": 3, b"b": 2, b"c": 1}  # events; samples hold `c` three times
ROWS = {
    "train": [
        raw_examples.raw_sample(L, [b"c"], b"a"),
        raw_examples.raw_sample(L, [b"c", b"a"], b"b"),
        raw_examples.raw_sample(L, [b"c", b"a", b"b"], b"a"),
    ],
    "eval": [raw_examples.raw_sample(L, [b"a"], b"unseen", label=0)],
}


def artifact(kind, folder: pathlib.Path):
    made = kind()
    made.uri = str(folder)
    folder.mkdir()
    return made


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder of the artifacts `graph` and `transformed` after a run, and the latter."""
    root = tmp_path_factory.mktemp("transform")
    examples = artifact(standard_artifacts.Examples, root / "examples")
    examples.split_names = artifact_utils.encode_split_names(list(ROWS))
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    for split, rows in ROWS.items():
        (root / "examples" / f"Split-{split}").mkdir()
        for number, row in enumerate(rows):
            raw_examples.write(root / "examples" / f"Split-{split}" / f"{number}.gz", [row])
    (root / "examples" / stages.ITEM_COUNTS).mkdir()
    hashes = pa.array(range(len(COUNTS)), pa.uint64())
    columns = [hashes, pa.array(COUNTS.keys()), pa.array(COUNTS.values())]
    batch = pa.RecordBatch.from_arrays(columns, names=["hash", "item", "count"])
    arrow_files.write(f"{examples.uri}/{stages.ITEM_COUNTS}/00000", batch.schema, [batch])
    schema = artifact(standard_artifacts.Schema, root / "schema")
    (root / "schema" / "schema.pbtxt").write_text(text_format.MessageToString(filled_schema(L)))
    graph = artifact(standard_artifacts.TransformGraph, root / "graph")
    transformed = artifact(standard_artifacts.Examples, root / "transformed")
    splits = tfx.proto.SplitsConfig(analyze=["train"], transform=list(ROWS))
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=["--runner=DirectRunner", "--direct_running_mode=in_memory"],
        tmp_dir=str(root / "tmp"),
        unique_id="1",
    )
    component.Executor(context).Do(
        {"examples": [examples], "schema": [schema]},
        {
            "transform_graph": [graph],
            "transformed_examples": [transformed],
            "updated_analyzer_cache": [artifact(standard_artifacts.TransformCache, root / "c")],
        },
        {
            "preprocessing_fn": "transforms.preprocessing.preprocessing_fn",
            "custom_config": json_utils.dumps(
                {
                    "min_item_count": 2,
                    "max_vocabulary_size": 10,
                    "oov_buckets": 1,
                    "time_unit": raw_examples.DAY,
                }
            ),
            "splits_config": proto_utils.proto_to_json(splits),
            "force_tf_compat_v1": 0,
            "disable_statistics": 1,
        },
    )
    return root, transformed


def test_the_vocabulary_has_the_items_with_enough_events(ran):
    graph = tft.TFTransformOutput(str(ran[0] / "graph"))
    # Of the samples, `a` is in four places and `b` in two; `c` has one event in training.
    assert graph.vocabulary_by_name(features.ITEM_VOCABULARY) == [b"a", b"b"]


def test_the_graph_has_nothing_of_the_way_to_it(ran):
    left = {path.name for path in (ran[0] / "graph").iterdir()}
    assert left == {"metadata", "transform_fn", "transformed_metadata"}


def test_each_split_is_transformed(ran):
    root, transformed = ran
    assert artifact_utils.decode_split_names(transformed.split_names) == list(ROWS)
    spec = tft.TFTransformOutput(str(root / "graph")).transformed_feature_spec()
    targets = {}
    for split in ROWS:
        files = sorted(str(path) for path in (root / "transformed" / f"Split-{split}").iterdir())
        records = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
        parsed = tf.io.parse_example(records, spec)
        targets[split] = np.reshape(parsed[features.TARGET_ITEM], -1).tolist()
    assert targets == {"train": [2, 3, 2], "eval": [1]}  # 0 is padding, 1 is unknown
