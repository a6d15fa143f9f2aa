"""Extreme users and attention on rows that an exported model scored."""

import json

import numpy as np
import pytest
import tensorflow as tf

from pipeline.evaluation.diagnostics.explained import explain
from pipeline.evaluation.diagnostics.sample import diagnose
from pipeline.evaluation.diagnostics.users import LEAST_ROWS, USERS, Choice
from tests.support import scored_examples
from tests.support.raw_examples import example
from transforms import features


def log_loss(score, label):
    return -np.log(score if label else 1 - score)


def test_the_users_are_those_with_the_extreme_mean_loss():
    rng = np.random.default_rng(0)
    user = rng.permutation(np.repeat(np.arange(40), 6))
    label, score = rng.integers(0, 2, 240), rng.uniform(0.01, 0.99, 240)
    choice = Choice(user, score, label)
    mean = {
        u: np.mean([log_loss(score[row], label[row]) for row in np.flatnonzero(user == u)])
        for u in range(40)
    }
    worst_first = sorted(mean, key=lambda u: -mean[u])
    assert [int(user[rows[0]]) for rows in choice.wrong] == worst_first[:USERS]
    assert [int(user[rows[0]]) for rows in choice.right] == worst_first[: -USERS - 1 : -1]
    for rows in choice.wrong:
        losses = [log_loss(score[row], label[row]) for row in rows]
        assert losses == sorted(losses, reverse=True)
        assert len(rows) == 6
    assert choice.shown[0] == choice.wrong[0][0]


def test_users_of_few_rows_count_only_where_there_are_no_others():
    many = np.repeat(np.arange(2 * USERS), LEAST_ROWS)
    user = np.append(many, 99)  # one row, and the worst of all
    score = np.append(np.full(len(many), 0.5), 1e-6)
    label = np.append(many % 2, 1)
    choice = Choice(user, score, label)
    assert (choice.users, choice.considered) == (2 * USERS + 1, 2 * USERS)
    assert 99 not in {int(user[rows[0]]) for rows in choice.wrong}
    few = Choice(user[-5:], score[-5:], label[-5:])
    assert few.considered == 2
    # Nobody is among the wrong and the right ones.
    assert [int(user[-5:][rows[0]]) for rows in few.wrong] == [99]
    assert len(few.right) == 1


def test_one_user_is_neither_wrong_nor_right():
    choice = Choice(np.array([7, 7]), np.array([0.5, 0.5]), np.array([0, 1]))
    assert choice.wrong == choice.right == []


@pytest.fixture(scope="module")
def rows(world, export):
    """300 rows of 60 users with their scores."""
    raw = [
        sample | {features.USER_ID: [b"user %d" % (number % 60)]}
        for number, sample in enumerate(world.raw[:300])
    ]
    records = [example(sample) for sample in raw]
    model = tf.saved_model.load(export)
    score = model.signatures["serving_default"](examples=tf.constant(records))["score"].numpy()
    return {
        "user": np.arange(300) % 60,
        "label": np.array([sample[features.LABEL][0] for sample in raw]),
        "record": np.array(records, object),
        "score": score,
        "raw": raw,
    }


def test_weights_are_those_of_the_signature_row_by_row(export, rows):
    model = tf.saved_model.load(export)
    found = explain(model, list(rows["record"][:70]))  # more than a batch
    assert found.weights.shape == (70, 3, 6)
    for row in (0, 1, 69):
        sample = rows["raw"][row]
        length = sample[features.HISTORY_LENGTH][0]
        assert found.length[row] == length
        assert found.items[row].tolist() == sample[features.HISTORY_ITEM]
        alone = model.signatures["explain"](
            history_item=tf.constant([sample[features.HISTORY_ITEM]]),
            history_time=tf.constant([sample[features.HISTORY_TIME]], tf.int64),
            history_length=tf.constant([length], tf.int64),
            request_time=tf.constant(sample[features.TARGET_TIME], tf.int64),
            candidates=tf.constant([sample[features.TARGET_ITEM]]),
        )["attention"].numpy()[0, :, 0]
        np.testing.assert_allclose(found.weights[row], alone, atol=1e-6)
        assert (found.weights[row, :, length:] == 0).all()


def test_the_sample_shows_users_with_the_history_of_their_extreme_row(export, rows):
    found = diagnose(export, rows)
    json.dumps(found, allow_nan=False)
    assert found["rows"] == 300
    assert found["attention"]["passes"] == 3
    assert len(found["users"]["wrong"]) == len(found["users"]["right"]) == USERS
    for kind, extreme in (("wrong", np.argmax), ("right", np.argmin)):
        for user in found["users"][kind]:
            number = int(user["user"].split()[1])
            own = np.flatnonzero(rows["user"] == number)
            losses = [log_loss(rows["score"][row], rows["label"][row]) for row in own]
            assert user["log_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
            sample = rows["raw"][own[extreme(losses)]]
            length = sample[features.HISTORY_LENGTH][0]
            newest_first = sample[features.HISTORY_ITEM][:length][::-1]
            assert [event["item"].encode() for event in user["history"]] == newest_first
            assert [user["asked"].encode()] == sample[features.TARGET_ITEM]
            if length:
                total = np.sum([event["weights"] for event in user["history"]], axis=0)
                np.testing.assert_allclose(total, length, rtol=1e-5)


def test_a_model_without_attention_or_without_finite_scores(tmp_path, rows):
    folder = scored_examples.save_model(tmp_path / "model")
    found = diagnose(folder, rows)
    assert found["attention"] is None
    assert found["users"]["wrong"][0]["history"][0]["weights"] == []
    broken = diagnose(folder, {**rows, "score": np.full(300, np.nan)})
    assert broken == {"rows": 300, "attention": None, "users": None}
