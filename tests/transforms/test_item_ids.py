"""Ids of raw items through a real Transform graph: vocabulary, catalogue, unknown, padding."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam

from transforms import item_ids

OOV = 3


def test_the_layout():
    ids = item_ids.ItemIds(oov_buckets=3, vocabulary=10, catalogue=5)
    assert (ids.first_known, ids.first_new) == (4, 14)
    assert item_ids.ItemIds(1, 0).first_new == 2


@pytest.fixture(scope="module")
def transformed(tmp_path_factory):
    """A function from raw ids to ids, loaded from the files that Transform wrote."""
    folder = tmp_path_factory.mktemp("item_ids")
    catalogue = folder / "catalogue_items"
    catalogue.write_bytes(b"new1\nb\nnew2\n")
    rows = [{"x": ["a", "b"]}, {"x": ["a", "c"]}, {"x": ["a", "b"]}]
    spec = {"x": tf.io.FixedLenFeature([2], tf.string)}

    def preprocessing_fn(inputs):
        vocabulary = tft.vocabulary(inputs["x"], vocab_filename="item")
        table = item_ids.catalogue_rows(str(catalogue))
        return {
            "with": item_ids.lookup(inputs["x"], vocabulary, OOV, table),
            "without": item_ids.lookup(inputs["x"], vocabulary, OOV),
        }

    with tft_beam.Context(temp_dir=str(folder / "temporary")):
        metadata = tft.DatasetMetadata.from_feature_spec(spec)
        graph = (rows, metadata) | tft_beam.AnalyzeDataset(preprocessing_fn)
        _ = graph | tft_beam.WriteTransformFn(str(folder / "graph"))
    catalogue.unlink()  # the graph holds its own copy
    layer = tft.TFTransformOutput(str(folder / "graph")).transform_features_layer()

    def ids(*items):
        pairs = tf.constant([[item, ""] for item in items])
        return {name: values.numpy()[:, 0].tolist() for name, values in layer({"x": pairs}).items()}

    return ids


def test_ids_of_the_vocabulary_do_not_depend_on_the_catalogue(transformed):
    ids = transformed("a", "b", "c", "")
    # a occurs three times, b twice, c once.
    assert ids["with"] == ids["without"] == [OOV + 1, OOV + 2, OOV + 3, 0]


def test_items_of_the_catalogue_alone_have_the_id_of_their_row(transformed):
    ids = transformed("new1", "new2", "zzz")
    first_new = item_ids.ItemIds(OOV, 3).first_new
    assert ids["with"][:2] == [first_new, first_new + 2]
    assert ids["with"][2] == ids["without"][2]
    assert all(1 <= each <= OOV for each in [ids["with"][2], *ids["without"]])
    assert np.array(ids["without"]).max() <= OOV
