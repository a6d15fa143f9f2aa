"""Hand-made Examples through TFX's own statistics and validation, to the stop."""

import pytest
import tensorflow_data_validation as tfdv
from tfx import v1 as tfx
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts

from pipeline.local.console import ANOMALIES, explain
from pipeline.schema import HistorySchema, filled_schema
from pipeline.validation import (
    AnomalyStop,
    SampledStatisticsGen,
    SamplingExecutor,
)
from tests.support.raw_examples import raw_sample, write
from transforms import features

L = 3
GOOD = raw_sample(L, [b"a", b"b"], b"c")


def run(folder, rows_by_split):
    for split, rows in rows_by_split.items():
        (folder / "examples" / split).mkdir(parents=True)
        write(folder / "examples" / split / "data.gz", rows)
    splits = [tfx.proto.Input.Split(name=split, pattern=f"{split}/*") for split in rows_by_split]
    examples = tfx.components.ImportExampleGen(
        input_base=str(folder / "examples"), input_config=tfx.proto.Input(splits=splits)
    )
    schema = HistorySchema(max_history_length=L)
    statistics = SampledStatisticsGen(examples=examples.outputs["examples"], rows=1_000)
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    stop = AnomalyStop(anomalies=validator.outputs["anomalies"])
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="validation",
            pipeline_root=str(folder / "root"),
            components=[examples, schema, statistics, validator, stop],
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                str(folder / "metadata.db")
            ),
            beam_pipeline_args=["--direct_running_mode=in_memory"],
        )
    )


def test_good_examples_pass(tmp_path):
    run(tmp_path, {"train": [GOOD] * 5, "test": [GOOD] * 5})


def test_anomalies_stop_the_run_and_say_where(tmp_path):
    bad = GOOD | {features.LABEL: [7], features.HISTORY_BUCKET: [b"endless"]}
    with pytest.raises(Exception) as error:  # noqa: PT011 - the runner may wrap it
        run(tmp_path, {"train": [GOOD] * 5, "test": [bad] * 5})
    status, reason = explain(error.value)
    assert status == ANOMALIES
    assert "test, label:" in reason
    assert "test, history_bucket:" in reason
    assert "endless" in reason
    assert "train" not in reason


def test_the_template_fills_in_every_shape_that_depends_on_l():
    schema = filled_schema(7)
    shapes = {feature.name: feature.shape.dim[0].size for feature in schema.feature}
    assert [name for name, size in shapes.items() if size == 7] == [
        features.HISTORY_ITEM,
        features.HISTORY_TIME,
    ]
    assert tfdv.get_feature(schema, features.HISTORY_LENGTH).int_domain.max == 7
    assert {size for size in shapes.values()} == {1, 7}


def test_the_schema_knows_the_same_buckets_as_ingestion():
    schema = filled_schema(L)
    assert tuple(tfdv.get_domain(schema, features.HISTORY_BUCKET).value) == features.HISTORY_BUCKETS
    assert tuple(tfdv.get_domain(schema, features.TARGET_BUCKET).value) == features.TARGET_BUCKETS


def test_only_as_many_shards_as_the_sample_needs_are_read(tmp_path):
    """Three shards with a user each: the first one holds as many rows as are asked for."""
    folder = tmp_path / "examples"
    (folder / "Split-train").mkdir(parents=True)
    for n in range(3):
        row = raw_sample(L, [b"a", b"b"], b"c") | {features.USER_ID: [b"u%d" % n]}
        write(folder / "Split-train" / f"data_tfrecord-{n:05}-of-00003.gz", [row] * 1_000)
    examples, made = standard_artifacts.Examples(), standard_artifacts.ExampleStatistics()
    examples.uri, made.uri = str(folder), str(tmp_path / "statistics")
    examples.split_names = artifact_utils.encode_split_names(["train"])
    examples_utils.set_file_format(examples, "tfrecords_gzip")
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
    examples.set_int_custom_property("rows_train", 3_000)
    context = SamplingExecutor.Context(
        beam_pipeline_args=["--direct_running_mode=in_memory"], tmp_dir=str(tmp_path), unique_id="0"
    )
    SamplingExecutor(context).Do({"examples": [examples]}, {"statistics": [made]}, {"rows": 1_000})
    statistics = tfdv.load_stats_binary(f"{made.uri}/Split-train/FeatureStats.pb").datasets[0]
    assert statistics.num_examples == 1_000
    (users,) = (f for f in statistics.features if f.path.step == [features.USER_ID])
    assert users.string_stats.unique == 1
