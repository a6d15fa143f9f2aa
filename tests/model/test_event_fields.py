"""Event fields in the model: ids of values, training batches, and the answers of an export."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from model.export import warmup
from model.layers import history_dropout
from model.scorer import DataSpec
from model.trainer import event_values
from pipeline.evaluation import shuffled_histories
from pipeline.release import infra_check
from serving import model as served_model
from tests.support import event_world
from tests.support.event_world import FIELDS, RATINGS, L
from tests.support.raw_examples import example
from transforms import features

EVENTS = ("history_rating", "history_by_hand")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return event_world.make(tmp_path_factory.mktemp("events"))


@pytest.fixture(scope="module")
def in_memory(world):
    raw = tf.io.parse_example(world.examples, world.output.raw_feature_spec())
    logits = world.ranker(world.output.transform_raw_features(raw))
    return tf.sigmoid(logits).numpy()[:, 0]


def test_values_have_ids_by_frequency_and_a_missing_one_is_1(world):
    vocabulary = world.output.vocabulary_by_name("event_rating")
    count = {value: 0 for value in RATINGS}
    for row in world.raw:
        for value in row["history_rating"][: row[features.HISTORY_LENGTH][0]]:
            count[value] += 1
    known = sorted((value for value in count if value), key=lambda v: (-count[v], v))
    assert set(vocabulary) == set(known)
    assert vocabulary[0] == known[0]
    for raw, row in zip(world.raw, world.rows, strict=True):
        length = raw[features.HISTORY_LENGTH][0]
        expected = [
            vocabulary.index(value) + 2 if value else 1 for value in raw["history_rating"][:length]
        ]
        assert row["history_rating"].tolist() == expected + [0] * (L - length)
        assert row["history_by_hand"].dtype == np.int64
    assert event_values(world.output, FIELDS) == {"rating": 5, "by hand": 7, "none": 3}


def test_unknown_and_long_values(world):
    raw = dict(world.raw[0])
    raw[features.HISTORY_ITEM] = [b"i001"] * L
    raw[features.HISTORY_LENGTH] = [L]
    raw["history_rating"] = [b"new", b"5.0", b"x" * 300, b"", b"\xff\xfe", "ä".encode() * 200]
    inputs = tf.io.parse_example([example(raw)], world.output.raw_feature_spec())
    ids = world.output.transform_raw_features(inputs)["history_rating"].numpy()[0]
    five = world.output.vocabulary_by_name("event_rating").index(b"5.0") + 2
    assert ids.tolist() == [1, five, 1, 1, 1, 1]


def test_a_description_holds_event_fields_only_where_there_are_any():
    assert "event_fields" not in DataSpec(5, 3, attributes={}).to_dict()
    described = json.loads(
        json.dumps(DataSpec(5, 3, attributes={}, event_fields={"a": 4}).to_dict())
    )
    assert DataSpec(**described) == DataSpec(5, 3, attributes={}, event_fields={"a": 4})


def test_a_step_trains_every_table_and_groups_by_length_change_nothing(world):
    batch = {
        name: tf.constant(np.stack([row[name] for row in world.rows[:40]]))
        for name in world.rows[0]
    }
    logits = world.ranker.score(
        world.ranker.encode(batch), tf.reshape(batch[features.TARGET_ITEM], [-1, 1])
    )
    grouped = world.ranker.score_by_length(batch, batch[features.TARGET_ITEM])
    np.testing.assert_allclose(grouped, logits, atol=1e-5)
    tables = [world.ranker.encoder.tables[f"event_{name}"] for name in ("rating", "by_hand")]
    with tf.GradientTape() as tape:
        losses, _ = world.ranker.loss_and_logits(batch)
    for gradient in tape.gradient(losses.total, tables):
        dense = tf.convert_to_tensor(gradient).numpy()
        assert isinstance(gradient, tf.IndexedSlices)
        assert not dense[0].any()  # padding
        assert dense[1:].any(axis=1).all()


def test_left_out_events_take_their_values_along(world):
    numbers = tf.reshape(tf.range(1, 4 * L + 1, dtype=tf.int64), [4, L])
    inputs = {name: numbers for name in (features.HISTORY_ITEM, features.HISTORY_ELAPSED, *EVENTS)}
    inputs[features.HISTORY_LENGTH] = tf.constant([[L], [L], [3], [0]], tf.int64)
    thinned = history_dropout.thin(inputs, 0.9, tf.constant([1, 2]))
    assert thinned[features.HISTORY_LENGTH].numpy().sum() < 2 * L + 3
    for name in EVENTS:
        np.testing.assert_array_equal(thinned[name], thinned[features.HISTORY_ITEM])


def test_every_signature_answers_as_the_model_in_memory(world, in_memory):
    requests = infra_check.requests(world.examples, world.output.raw_feature_spec())
    assert set(EVENTS) < set(requests["rank"])
    assert in_memory.std() > 1e-3
    served = infra_check.served_scores(world.export, requests)
    for scores in served.values():
        np.testing.assert_allclose(scores, in_memory, atol=1e-5)


def test_longer_requests_are_cut_and_what_lies_beyond_the_length_is_not_read(world, in_memory):
    requests = infra_check.requests(world.examples, world.output.raw_feature_spec())["rank"]
    rank = tf.saved_model.load(world.export).signatures["rank"]

    def wider(values, before, after):
        rows = [[before] * 2 + list(row) for row in values.tolist()]
        for row, length in zip(rows, requests[features.HISTORY_LENGTH], strict=True):
            row[2 + length :] = [after] * (L - length)
        return np.array(rows, values.dtype)

    full = requests[features.HISTORY_LENGTH] == L
    longer = requests | {
        name: wider(requests[name], b"old", b"garbage")
        for name in (features.HISTORY_ITEM, *features.of_events(requests))
    }
    longer[features.HISTORY_TIME] = wider(requests[features.HISTORY_TIME], 1, 77)
    longer[features.HISTORY_LENGTH] = requests[features.HISTORY_LENGTH] + 2
    scores = rank(**{name: tf.constant(of) for name, of in longer.items()})["scores"].numpy()
    np.testing.assert_allclose(scores[full, 0], in_memory[full], atol=1e-5)


def test_values_matter_and_must_be_there(world):
    requests = infra_check.requests(world.examples, world.output.raw_feature_spec())["rank"]
    model = tf.saved_model.load(world.export)
    inputs = {name: tf.constant(of) for name, of in requests.items()}
    before = model.signatures["rank"](**inputs)["scores"].numpy()
    for name in EVENTS:
        other = inputs | {name: tf.fill(tf.shape(inputs[name]), "w1")}
        assert np.abs(model.signatures["rank"](**other)["scores"].numpy() - before).max() > 1e-4
    explained = model.signatures["explain"](**inputs)
    np.testing.assert_allclose(explained["scores"], before, atol=1e-6)
    narrow = inputs | {EVENTS[0]: inputs[EVENTS[0]][:, :2]}
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="`history_rating` must have the shape"
    ):
        model.signatures["rank"](**narrow)
    missing = {name: of for name, of in inputs.items() if name != EVENTS[0]}
    with pytest.raises(TypeError, match="history_rating"):
        model.signatures["rank"](**missing)


def test_warm_up_requests_have_values_and_the_server_runs_them(world):
    path = pathlib.Path(world.export) / warmup.FILE
    assert path.exists()
    logs = [*tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]
    assert sum(b"history_by_hand" in log for log in logs) >= 5
    model = served_model.Model(world.export)
    assert set(EVENTS) <= set(model.signatures["rank"].inputs)


def test_another_users_history_has_its_own_values(world):
    user = np.arange(len(world.raw), dtype=np.uint64)
    time = np.array([row[features.TARGET_TIME][0] for row in world.raw])
    for record in shuffled_histories.histories(user, time, world.examples):
        feature = tf.train.Example.FromString(record).features.feature
        items = [item for item in feature[features.HISTORY_ITEM].bytes_list.value if item]
        values = feature["history_rating"].bytes_list.value[: len(items)]
        assert list(values) == [RATINGS[int(item[1:]) % 4] for item in items]
