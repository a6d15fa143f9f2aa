"""The signatures of the whole catalogue against NumPy, and a defined answer for odd requests."""

import base64

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow.core.protobuf import saved_model_pb2

from model.export import recommend
from tests.support import c_api, first_stage
from tests.support.raw_examples import DAY, NOW
from transforms import features, preprocessing

HISTORIES = [[b"i001", b"i002", b"i003"], [], [b"i%03d" % n for n in range(10, 19)], [b"new"]]
CANDIDATES = 20  # of the fixture `ranker`


@pytest.fixture(scope="module")
def served(export):
    return tf.saved_model.load(export).signatures


def history(histories, width=9):
    items = np.full((len(histories), width), b"garbage", object)
    times = np.full((len(histories), width), 77, np.int64)
    for row, ids in enumerate(histories):
        items[row, : len(ids)] = ids
        times[row, : len(ids)] = [NOW - day * DAY for day in range(len(ids), 0, -1)]
    return {
        "history_item": items,
        "history_time": times,
        "history_length": np.array([len(ids) for ids in histories], np.int64),
        "request_time": np.full(len(histories), NOW, np.int64),
    }


def ask(served, name, histories=HISTORIES, **inputs):
    answer = served[name](
        **{key: tf.constant(value) for key, value in (history(histories) | inputs).items()}
    )
    return {key: value.numpy() for key, value in answer.items()}


def k(*values):
    return {"k": np.array(values, np.int64)}


@pytest.fixture(scope="module")
def vocabulary(world):
    return tft.TFTransformOutput(world.transform).vocabulary_by_name(features.ITEM_VOCABULARY)


def expected(world, ranker, vocabulary, events, count):
    """Both stages in NumPy for one history: ids of the first stage, best first, and scores."""
    first = 1 + world.oov_buckets
    ids = {item: first + row for row, item in enumerate(vocabulary)}
    vectors = first_stage.unit(ranker.retrieval.encoder.tables["item"].numpy())
    newest = events[-world.length :]
    rows = [ids[item] for item in newest]
    age = np.array([[(len(newest) - j) * DAY for j in range(len(newest))]])
    elapsed = preprocessing.elapsed_buckets(NOW - age, tf.constant([[NOW]]), DAY).numpy()[0]
    user = first_stage.user(ranker.retrieval, vectors[rows], elapsed)
    cosines = vectors[first:] @ user
    cosines[[ids[item] - first for item in events]] = -np.inf
    best = np.argsort(-cosines, kind="stable")[:count]
    filled = np.zeros((1, world.length), np.int64)
    filled[0, : len(rows)] = rows
    times = np.zeros_like(filled)
    times[0, : len(rows)] = elapsed
    inputs = {
        features.HISTORY_ITEM: filled,
        features.HISTORY_ELAPSED: times,
        features.HISTORY_LENGTH: np.array([len(rows)]),
    }
    encoded = ranker.encode({name: tf.constant(value) for name, value in inputs.items()})
    logits = ranker.score(encoded, tf.constant(best[None] + first))
    counts = ranker.retrieval.target_counts.numpy()[:-1, 0] + 1
    shares = counts / counts.sum()
    scores = logits.numpy()[0] + np.log(shares[first + best]) + cosines[best] / 0.1
    return [vocabulary[row] for row in best], cosines[best], scores


@pytest.mark.parametrize("row", [0, 1, 2])
def test_the_first_stage_has_the_largest_cosines(served, world, ranker, vocabulary, row):
    items, cosines, _ = expected(world, ranker, vocabulary, HISTORIES[row], 7)
    answer = ask(served, "retrieve", **k(7, 7, 7, 7))
    assert answer["items"][row].tolist() == items
    np.testing.assert_allclose(answer["scores"][row], cosines, atol=1e-5)


@pytest.mark.parametrize("row", [0, 1, 2])
def test_the_model_ranks_the_first_stage(served, world, ranker, vocabulary, row):
    items, _, scores = expected(world, ranker, vocabulary, HISTORIES[row], CANDIDATES)
    order = np.argsort(-scores, kind="stable")[:5]
    answer = ask(served, "recommend", **k(5, 5, 5, 5))
    assert answer["items"][row].tolist() == [items[place] for place in order]
    np.testing.assert_allclose(answer["scores"][row], scores[order], atol=1e-4)
    assert answer["first_stage"][row].tolist() == (order + 1).tolist()


def test_the_probabilities_are_those_of_rank(served):
    answer = ask(served, "recommend", **k(5, 5, 5, 5))
    scores = ask(served, "rank", candidates=answer["items"])["scores"]
    np.testing.assert_allclose(answer["probabilities"], scores, atol=1e-6)


def test_items_of_the_history_are_left_out_also_those_that_the_model_does_not_read(
    served, world, vocabulary
):
    assert len(HISTORIES[2]) > world.length
    answer = ask(served, "recommend", **k(*[len(vocabulary)] * 4))
    for row, events in enumerate(HISTORIES):
        items = [item for item in answer["items"][row] if item]
        assert sorted([*items, *(set(events) & set(vocabulary))]) == sorted(vocabulary)


def test_each_row_gets_as_many_as_it_asks_for(served):
    answer = ask(served, "recommend", **k(3, 0, 5, -1))
    assert answer["items"].shape == (4, 5)
    assert (answer["items"] != b"").sum(axis=1).tolist() == [3, 0, 5, 0]
    np.testing.assert_array_equal(answer["first_stage"] > 0, answer["items"] != b"")
    for name in ("scores", "probabilities"):
        np.testing.assert_array_equal(answer[name] != 0, answer["items"] != b"")
    assert ask(served, "recommend", **k(0, 0, 0, 0))["items"].shape == (4, 0)


def test_k_above_the_catalogue_gives_the_catalogue(served, vocabulary):
    for name in ("recommend", "retrieve"):
        answer = ask(served, name, [[], [b"i001"]], **k(10_000, 2**62))
        assert (answer["items"] != b"").sum(axis=1).tolist() == [
            len(vocabulary),
            len(vocabulary) - 1,
        ]


def test_k_is_bounded():
    """So that no request has the model rank millions of items."""
    assert recommend._most(tf.constant([3, 2**62], tf.int64)) == 10_000


def test_equal_items_are_in_the_order_of_the_vocabulary(world, ranker, vocabulary, tmp_path):
    from model.export.signatures import ServingModule

    table = ranker.retrieval.encoder.tables["item"]
    kept = table.numpy()
    try:
        table.assign(np.ones_like(kept))
        ServingModule(ranker, tft.TFTransformOutput(world.transform)).save(str(tmp_path / "m"))
    finally:
        table.assign(kept)
    equal = tf.saved_model.load(str(tmp_path / "m")).signatures
    assert ask(equal, "retrieve", [[]], **k(9))["items"][0].tolist() == vocabulary[:9]


def filters(rows, **given):
    nothing = np.zeros((rows, 0), object)
    defaults = {"exclude": nothing, "only_items": nothing, "only_values": nothing}
    return (
        {"exclude_history": np.full(rows, True)}
        | {
            key: tf.constant(value.tolist(), tf.string, value.shape)
            for key, value in (defaults | given).items()
            if key != "exclude_history"
        }
        | {key: value for key, value in given.items() if key == "exclude_history"}
    )


def test_without_a_filter_it_recommends_the_same(served):
    plain = ask(served, "recommend", **k(5, 5, 5, 5))
    filtered = ask(served, "recommend_filtered", **k(5, 5, 5, 5), **filters(4))
    for name, value in plain.items():
        np.testing.assert_array_equal(filtered[name], value)


def test_a_request_keeps_to_a_list_and_leaves_items_out(served, vocabulary):
    given = filters(
        2,
        only_items=np.array([[b"i005", b"i001", b"unknown"], [b"", b"", b""]], object),
        exclude=np.array([[b""], [vocabulary[0]]], object),
        exclude_history=np.array([False, True]),
    )
    answer = ask(served, "recommend_filtered", [[b"i001"], []], **k(4, len(vocabulary)), **given)
    assert sorted(answer["items"][0])[-2:] == [b"i001", b"i005"]
    assert (answer["items"][0] != b"").sum() == 2
    assert sorted(filter(None, answer["items"][1])) == sorted(vocabulary[1:])


@pytest.mark.parametrize("name", ["retrieve", "recommend", "recommend_filtered"])
def test_no_users_get_no_answers(served, name):
    answer = ask(served, name, [], **k(), **(filters(0) if name == "recommend_filtered" else {}))
    assert {value.shape[0] for value in answer.values()} == {0}


def test_no_request_copies_a_variable(export):
    """TensorFlow copies all of a variable that is read whole and gathered from."""
    rows = len(HISTORIES)
    inputs = history(HISTORIES) | k(*[3] * rows) | filters(rows)
    inputs["candidates"] = np.array([[b"i001"]] * rows, object)
    inputs["only_items"] = np.array([[b"i005", b"i001"]] * rows, object)
    options = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE)
    reads = []
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], export)
        for name in ("rank", "retrieve", "recommend", "recommend_filtered"):
            signature = loaded.signature_def[name]
            feed = {of.name: np.array(inputs[key]) for key, of in signature.inputs.items()}
            fetch = [of.name for of in signature.outputs.values()]
            for _ in range(2):
                traced = tf.compat.v1.RunMetadata()
                session.run(fetch, feed, options=options, run_metadata=traced)
            reads += [
                (name, node.node_name, sum(memory.total_bytes for memory in node.memory))
                for device in traced.step_stats.dev_stats
                for node in device.node_stats
                if "ReadVariableOp" in node.node_name
            ]
    assert len(reads) > 10
    assert [read for read in reads if read[2]] == []


def test_inputs_whose_shapes_do_not_agree_are_refused(served):
    with pytest.raises(tf.errors.InvalidArgumentError, match="`k` must have the shape"):
        ask(served, "recommend", **k(5))


def test_a_c_session_answers_the_same(served, export):
    inputs = history(HISTORIES) | k(5, 5, 5, 5)
    with open(f"{export}/saved_model.pb", "rb") as file:
        definition = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0].signature_def
    signature = definition["recommend"]
    feed = {
        signature.inputs[key].name: c_api.plain(value.ravel().tolist(), value.shape)
        for key, value in inputs.items()
    }
    names = ("items", "scores", "first_stage")
    runs = [{"feed": feed, "fetch": signature.outputs[name].name} for name in names]
    items, scores, places = c_api.ask(export, runs)
    python = ask(served, "recommend", **k(5, 5, 5, 5))
    assert [base64.b64decode(item) for item in items] == python["items"].ravel().tolist()
    np.testing.assert_allclose(scores, python["scores"].ravel(), atol=1e-5)
    assert places == python["first_stage"].ravel().tolist()
