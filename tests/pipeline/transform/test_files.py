"""Vocabularies and samples, a file at a time, against TensorFlow Transform's own Beam job."""

import pathlib

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils

from pipeline.schema import filled_schema
from pipeline.transform import samples, vocabularies
from tests.support import event_world, raw_examples
from transforms import features, preprocessing

L, FIELDS = event_world.L, event_world.FIELDS
CONFIG = event_world.CONFIG
FILES = 3
IN_MEMORY = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]


@pytest.fixture(scope="module")
def rows():
    """Samples with ties, an id that no line can hold, and items that only targets have."""
    made = event_world.samples(np.random.default_rng(5), 90)
    made[7] |= {features.TARGET_ITEM: [b"two\nlines"]}
    made[8] |= {features.TARGET_ITEM: [b"\xff\x00"], features.LABEL: [0]}
    return made


@pytest.fixture(scope="module")
def files(rows, tmp_path_factory):
    """The samples in files."""
    folder = tmp_path_factory.mktemp("raw")
    paths = [str(folder / f"{number}.gz") for number in range(FILES)]
    for number, path in enumerate(paths):
        raw_examples.write(path, rows[number * 30 : number * 30 + 30])
    return paths


def analyse(rows, folder, config):
    """The Transform graph, and what TFT's own job makes of the rows."""
    metadata = dataset_metadata.DatasetMetadata(filled_schema(L, FIELDS))
    with tft_beam.Context(temp_dir=str(folder / "temporary")):
        graph = (rows, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing.preprocessing_fn(inputs, config)
        )
        _ = graph | tft_beam.WriteTransformFn(str(folder))
        transformed, _ = ((rows, metadata), graph) | tft_beam.TransformDataset()
    output = tft.TFTransformOutput(str(folder))
    metadata_io.write_metadata(metadata, str(folder / output.RAW_METADATA_DIR))
    return output, transformed


@pytest.fixture(scope="module", params=["ids alone", "catalogue"])
def of_tft(rows, tmp_path_factory, request):
    """The graph with TFT's own analysis, its folder and configuration, and the rows of its job."""
    folder = tmp_path_factory.mktemp("graph")
    config = CONFIG
    if request.param == "catalogue":
        (folder / "catalogue").write_bytes(b"i003\nnew\ni000\n")
        config = CONFIG | {"catalogue": str(folder / "catalogue")}
    output, transformed = analyse(rows, folder, config)
    return output, str(folder), config, transformed


def count(files, folder, config):
    spec = schema_utils.schema_as_feature_spec(filled_schema(L, FIELDS)).feature_spec
    counted = []
    with beam.Pipeline(argv=IN_MEMORY) as pipeline:
        vocabularies.write(pipeline, files, spec, config, str(folder), counted.append)
    return {path.name: path.read_bytes().split(b"\n")[:-1] for path in folder.iterdir()}


def test_vocabularies_are_those_of_tft_in_their_order(files, of_tft, tmp_path):
    found = count(files, tmp_path, CONFIG)
    names = [features.event_vocabulary(name) for name in features.event_fields(FIELDS)]
    assert sorted(found) == sorted([features.ITEM_VOCABULARY, *names])
    for name, terms in found.items():
        assert terms == of_tft[0].vocabulary_by_name(name), name
    assert len(found["event_none"]) == 1  # the reserved token: TensorFlow reads no empty file


def test_the_most_frequent_terms_stay(files, tmp_path):
    everything = count(files, _folder(tmp_path / "all"), CONFIG)
    few = count(files, _folder(tmp_path / "few"), CONFIG | {"max_vocabulary_size": 3})
    assert {name: terms[:3] for name, terms in everything.items()} == few


def test_rare_items_are_left_out(files, tmp_path):
    frequent = str(tmp_path / "frequent.npy")
    np.save(frequent, np.sort(preprocessing.item_hashes([b"i001", b"i002"]).numpy()))
    config = CONFIG | {"min_item_count": 2, "frequent_items": frequent}
    found = count(files, _folder(tmp_path / "counted"), config)
    assert set(found[features.ITEM_VOCABULARY]) == {b"i001", b"i002"}


def test_the_graph_of_counted_vocabularies_gives_the_same_features(files, rows, of_tft, tmp_path):
    expected_graph, _, config, expected = of_tft
    counted = _folder(tmp_path / "counted")
    count(files, counted, config)
    output, transformed = analyse(
        rows, _folder(tmp_path / "graph"), config | {"vocabularies": str(counted)}
    )
    for path in counted.iterdir():
        path.unlink()  # the graph holds a copy
    assert output.transformed_metadata == expected_graph.transformed_metadata
    for name in (features.ITEM_VOCABULARY, "event_rating"):
        assert output.vocabulary_by_name(name) == expected_graph.vocabulary_by_name(name)
    for row, other in zip(transformed, expected, strict=True):
        for name, values in row.items():
            np.testing.assert_array_equal(values, other[name], err_msg=name)
    spec = output.raw_feature_spec()
    raw = tf.io.parse_example([raw_examples.example(row) for row in rows], spec)
    for name, values in output.transform_features_layer()(raw).items():
        served = [np.reshape(row[name], -1) for row in expected]
        np.testing.assert_array_equal(values, served, err_msg=name)


def test_samples_are_those_of_tft_file_by_file(files, of_tft, tmp_path):
    output, graph, _, transformed = of_tft
    done = []
    with beam.Pipeline(argv=IN_MEMORY) as pipeline:
        samples.write(pipeline, graph, files, str(tmp_path / "Split-train"), done.append)
    paths = sorted((tmp_path / "Split-train").iterdir())
    assert [path.name for path in paths] == [
        f"transformed_examples-{number:05}-of-{FILES:05}.gz" for number in range(FILES)
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["Split-train"]  # no parts of files
    records = tf.data.TFRecordDataset([str(path) for path in paths], "GZIP").batch(1000)
    (parsed,) = [tf.io.parse_example(batch, output.transformed_feature_spec()) for batch in records]
    assert set(parsed) == set(transformed[0])
    for name, values in parsed.items():
        expected = [np.reshape(row[name], -1) for row in transformed]
        np.testing.assert_array_equal(values, expected, err_msg=name)


def _folder(path: pathlib.Path) -> pathlib.Path:
    path.mkdir()
    return path
