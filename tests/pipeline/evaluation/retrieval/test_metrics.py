"""Metrics over the whole catalogue: by hand, and of an exported model against its own answers."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from pipeline.evaluation.retrieval import metrics
from tests.support.raw_examples import NOW, raw_sample, write
from transforms import features


def test_the_standard_error_has_users_as_clusters():
    """Two users with all of their rows alike: as two rows, not as four."""
    value, error = metrics.mean(np.array([1, 1, 2, 2]), np.array([1.0, 1.0, 0.0, 0.0]))
    assert value == 0.5
    assert error == pytest.approx(np.sqrt(1.0**2 + 1.0**2) / 4)
    alone = metrics.mean(np.arange(4), np.array([1.0, 1.0, 0.0, 0.0]))[1]
    assert alone == pytest.approx(np.sqrt(4 * 0.25) / 4)


@pytest.fixture(scope="module")
def files(world, tmp_path_factory):
    root = tmp_path_factory.mktemp("splits")
    rng = np.random.default_rng(0)

    def rows(count):
        for number in range(count):
            items = [b"i%03d" % item for item in rng.permutation(60)[: world.length]]
            for target, label in ((items[-1], 1), (b"x", 0)):
                sample = raw_sample(world.length, items[:-1], target, label=label)
                yield sample | {
                    features.USER_ID: [b"u%d" % (number // 2)],
                    features.TARGET_BUCKET: [b"1-4"],
                }

    names = [str(root / f"{split}.gz") for split in ("train", "test")]
    for name, count in zip(names, (60, 24), strict=True):
        write(name, rows(count))
    return [names[0]], [names[1]]


def test_a_model_is_judged_by_its_own_answers(world, export, files):
    """Every number of one system, from the answers of the signatures one by one."""
    result = metrics.evaluate(export, *files)
    json.dumps(result)
    served = tf.saved_model.load(export).signatures
    places = {"recommend": [], "retrieve": []}
    shown = set()
    for record in tf.data.TFRecordDataset(files[1], "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        if feature[features.LABEL].int64_list.value[0] == 0:
            continue
        length = feature[features.HISTORY_LENGTH].int64_list.value[0]
        request = {
            "history_item": tf.constant([feature[features.HISTORY_ITEM].bytes_list.value[:length]]),
            "history_time": tf.constant(
                [feature[features.HISTORY_TIME].int64_list.value[:length]], tf.int64
            ),
            "history_length": tf.constant([length], tf.int64),
            "request_time": tf.constant([NOW], tf.int64),
            "k": tf.constant([500], tf.int64),
        }
        target = feature[features.TARGET_ITEM].bytes_list.value[0]
        for name, found in places.items():
            answer = {key: value.numpy()[0] for key, value in served[name](**request).items()}
            items = answer["items"].tolist()
            if name == "recommend":  # the fixture's model ranks 20 of its 60 items
                items = [
                    item
                    for item, place in zip(items, answer["first_stage"], strict=True)
                    if 0 < place <= 20
                ]
            found.append(items.index(target) if target in items else np.inf)
            if name == "recommend":
                shown |= set(items[:10])
    ranked, first = (np.array(found) for found in places.values())
    system = result["systems"]["recommend"]["overall"]
    assert result["rows"] == len(ranked) == 24
    vocabulary = tft.TFTransformOutput(world.transform).vocabulary_by_name(features.ITEM_VOCABULARY)
    assert result["items"] == len(vocabulary)
    assert system["recall@20"][0] == pytest.approx((ranked < 20).mean())
    assert system["hit@10"][0] == pytest.approx((ranked < 10).mean())
    assert system["mrr"][0] == pytest.approx((1 / (ranked + 1)).mean())
    expected = np.where(ranked < 10, 1 / np.log2(ranked + 2), 0).mean()
    assert system["ndcg@10"][0] == pytest.approx(expected)
    assert system["coverage@10"] == pytest.approx(len(shown) / result["items"])
    assert result["first_stage"]["metrics"]["overall"]["recall@20"][0] == pytest.approx(
        (first < 20).mean()
    )
    by_bucket = result["systems"]["first_stage"]["target_bucket=1-4"]
    assert by_bucket["rows"] == 24
    assert by_bucket["mrr"][0] == pytest.approx((1 / (first + 1)).mean())
    text = metrics.table(result)
    assert f"{system['mrr'][0]:.4f}" in text
    (_, *by_slice) = text.split("First stage alone, by slice and its positives")[1].splitlines()
    line = next(line for line in by_slice if line.startswith("  target_bucket=1-4, 24 "))
    assert float(line.split()[-1]) == pytest.approx((1 / (first + 1)).mean(), abs=5e-5)


def test_few_rows_are_those_of_whole_users(monkeypatch):
    monkeypatch.setattr(metrics, "MAX_RANKED", 3)
    users = np.array([5, 9, 1, 5, 9, 9])
    assert users[metrics._few(users)].tolist() == [5, 1, 5]


@pytest.mark.parametrize(
    ("items", "rows"), [(0, 20_000), (500_000, 20_000), (2_500_000, 4_000), (10**9, 1_000)]
)
def test_a_large_catalogue_is_asked_for_fewer_rows(items, rows):
    """Rows times items is bounded, but both stages keep their 1,000 rows."""
    assert metrics.retrieved_rows(items) == rows
