"""The signatures of an export, also in a process without the code of the model."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from model.export.signatures import ServingModule
from transforms import features

L = 6
NOW, DAY = 1_400_000_000, 86_400


@pytest.fixture(scope="module")
def served(export):
    return tf.saved_model.load(export).signatures


def example(history, target, length=None, days=None, now=NOW):
    """A serialized raw Example without label or user."""
    days = list(days or range(len(history), 0, -1))
    padding = L - len(history)
    proto = tf.train.Example()
    feature = proto.features.feature
    feature[features.HISTORY_ITEM].bytes_list.value.extend([*history, *[b""] * padding])
    feature[features.HISTORY_TIME].int64_list.value.extend(
        [now - day * DAY for day in days] + [0] * padding
    )
    feature[features.HISTORY_LENGTH].int64_list.value.append(
        len(history) if length is None else length
    )
    feature[features.TARGET_ITEM].bytes_list.value.append(target)
    feature[features.TARGET_TIME].int64_list.value.append(now)
    return proto.SerializeToString()


def rank(served, histories, candidates, width=None, days=None):
    width = max(map(len, histories)) if width is None else width
    item = [[*history, *[b"garbage"] * (width - len(history))] for history in histories]
    time = [
        [NOW - day * DAY for day in (days or range(len(history), 0, -1))]
        + [77] * (width - len(history))
        for history in histories
    ]
    answer = served["rank"](
        history_item=tf.constant(item, tf.string, [len(histories), width]),
        history_time=tf.constant(time, tf.int64, [len(histories), width]),
        history_length=tf.constant([len(history) for history in histories], tf.int64),
        request_time=tf.constant([NOW] * len(histories), tf.int64),
        candidates=tf.constant(candidates, tf.string, [len(histories), len(candidates[0])]),
    )
    return answer["scores"].numpy()


def score(served, examples):
    return served["serving_default"](examples=tf.constant(examples))["score"].numpy()


HISTORIES = [
    [b"i001", b"i002", b"i003"],
    [],
    [b"i010", b"i010", b"i010", b"i010", b"i010", b"i010"],
    [b"never", b"seen", b"i004"],
    [b"i005"],
]
TARGETS = [b"i007", b"i001", b"i010", b"unknown", b"i059"]


def test_an_export_scores_as_the_model_in_memory(world, ranker, served):
    transform = tft.TFTransformOutput(world.transform)
    raw = {
        name: tf.constant(np.stack([row[name] for row in world.raw[:100]]))
        for name in transform.raw_feature_spec()
    }
    logits = ranker(transform.transform_raw_features(raw))
    examples = [
        example(
            row[features.HISTORY_ITEM][: row[features.HISTORY_LENGTH][0]],
            row[features.TARGET_ITEM][0],
        )
        for row in world.raw[:100]
    ]
    expected = tf.sigmoid(logits).numpy()[:, 0]
    assert expected.std() > 1e-3
    np.testing.assert_allclose(score(served, examples), expected, atol=1e-6)


def test_rank_of_one_candidate_is_serving_default(served):
    examples = [example(*row) for row in zip(HISTORIES, TARGETS, strict=True)]
    expected = score(served, examples)
    assert np.isfinite(expected).all()
    for width in (6, 9, 200):
        got = rank(served, HISTORIES, [[target] for target in TARGETS], width)
        np.testing.assert_allclose(got[:, 0], expected, atol=1e-6)


def test_the_score_of_a_candidate_does_not_depend_on_the_others(served):
    rng = np.random.default_rng(0)
    names = [b"i%03d" % item for item in range(60)] + [b"new", b""]
    for count in (1, L - 1, L, L + 1, 30):
        candidates = [[names[i] for i in rng.integers(0, 62, count)] for _ in HISTORIES]
        together = rank(served, HISTORIES, candidates)
        assert together.shape == (len(HISTORIES), count)
        for row, history in enumerate(HISTORIES):
            expected = score(served, [example(history, each) for each in candidates[row]])
            np.testing.assert_allclose(together[row], expected, atol=1e-6)


@pytest.mark.parametrize("extra", [1, 5, 50])
def test_longer_histories_are_cut_to_the_newest(served, extra):
    rng = np.random.default_rng(extra)
    history = [b"i%03d" % item for item in rng.integers(0, 60, L + extra)]
    candidates = [[b"i001", b"i040"]]
    expected = rank(served, [history[-L:]], candidates)
    for width in (L + extra, L + extra + 3):
        np.testing.assert_allclose(rank(served, [history], candidates, width), expected, atol=1e-7)
    other = [b"i000", *history[1:]]
    np.testing.assert_allclose(rank(served, [other], candidates), expected, atol=1e-7)
    assert np.abs(rank(served, [history[:-1]], candidates) - expected).max() > 1e-6


def test_a_history_of_width_0_is_empty(served):
    got = rank(served, [[]], [[b"i001", b"i002"]], width=0)
    np.testing.assert_allclose(got, rank(served, [[]], [[b"i001", b"i002"]], width=3), atol=1e-7)
    expected = score(served, [example([], b"i001"), example([], b"i002")])
    np.testing.assert_allclose(got[0], expected, atol=1e-6)


def test_times_after_the_request_count_as_its_time(served):
    future = rank(served, [[b"i001", b"i002"]], [[b"i003"]], days=[-1, -1000])
    now = rank(served, [[b"i001", b"i002"]], [[b"i003"]], days=[0, 0])
    np.testing.assert_allclose(future, now, atol=1e-7)
    assert np.abs(rank(served, [[b"i001", b"i002"]], [[b"i003"]], days=[900, 90]) - now) > 1e-7


def test_lengths_out_of_range_count_as_the_nearest(served):
    history = [b"i001"] * L
    full, over = score(served, [example(history, b"i002"), example(history, b"i002", length=99)])
    assert full == pytest.approx(over, abs=1e-7)
    empty, below = score(served, [example([], b"i002"), example(history, b"i002", length=-3)])
    assert empty == pytest.approx(below, abs=1e-7)


def test_only_operations_of_core_tensorflow(export):
    """A server knows the operations that TensorFlow registers, none of Python's."""
    code = (
        "import json, sys, tensorflow as tf\n"
        "from tensorflow.core.protobuf import saved_model_pb2\n"
        "model = saved_model_pb2.SavedModel.FromString(open(sys.argv[1], 'rb').read())\n"
        "graph = model.meta_graphs[0].graph_def\n"
        "nodes = [*graph.node] + [n for f in graph.library.function for n in f.node_def]\n"
        "names = {f.signature.name for f in graph.library.function}\n"
        "known = set(tf.raw_ops.__dict__)\n"
        "print(json.dumps(sorted({n.op for n in nodes} - known - names)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"{export}/saved_model.pb"],
        capture_output=True,
        text=True,
        check=True,
    )
    unknown = set(json.loads(done.stdout))
    assert not unknown, unknown


def test_a_fresh_process_gives_the_same_answers(export, served):
    examples = [example(*row) for row in zip(HISTORIES, TARGETS, strict=True)]
    code = (
        "import json, sys, tensorflow as tf\n"
        "served = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
        "rows = [bytes.fromhex(row) for row in json.loads(sys.argv[2])]\n"
        "print(json.dumps(served(examples=tf.constant(rows))['score'].numpy().tolist()))\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'model']\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, export, json.dumps([row.hex() for row in examples])],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    np.testing.assert_array_equal(np.float32(json.loads(done.stdout)), score(served, examples))


def test_a_history_is_encoded_once_for_all_candidates(export):
    """The graph of `rank` has one gather for the items of the histories, not one per candidate."""
    graph = tf.saved_model.load(export).signatures["rank"].graph.as_graph_def()
    gathers = [
        node
        for function in graph.library.function
        for node in function.node_def
        if node.op == "ResourceGather"
    ]
    # Item, time and position of the history, and items of the candidates.
    assert len(gathers) == 4


def test_a_graph_without_the_vocabulary_is_refused(world, ranker, monkeypatch):
    transform = tft.TFTransformOutput(world.transform)
    monkeypatch.setattr(transform, "vocabulary_file_by_name", lambda name: None)
    with pytest.raises(ValueError, match=f"must have the vocabulary `{features.ITEM_VOCABULARY}`"):
        ServingModule(ranker, transform)
