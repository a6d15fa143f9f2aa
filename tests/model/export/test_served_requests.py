"""Methods of the signatures, warm-up, and a defined answer for every odd request."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from tests.support import c_api
from tests.support.raw_examples import DAY, NOW, example, raw_sample

L = 6
YEAR_2100 = 4_102_444_800


@pytest.fixture(scope="module")
def served(export):
    return tf.saved_model.load(export).signatures


@pytest.fixture(scope="module")
def definitions(export):
    with open(f"{export}/saved_model.pb", "rb") as file:
        return saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0].signature_def


def serialized(history, target=b"i003", days=None):
    return example(raw_sample(L, history, target, days))


def score(served, *examples):
    return served["serving_default"](examples=tf.constant(examples))["score"].numpy()


def rank(served, history, candidates, times=None, now=NOW):
    if times is None:
        times = [NOW - day * DAY for day in range(len(history), 0, -1)]
    return served["rank"](
        history_item=tf.constant([history], tf.string, [1, len(history)]),
        history_time=tf.constant([times], tf.int64, [1, len(history)]),
        history_length=tf.constant([len(history)], tf.int64),
        request_time=tf.constant([now], tf.int64),
        candidates=tf.constant([candidates]),
    )["scores"].numpy()[0]


EXAMPLES = [serialized([b"i001", b"i002"]), serialized([]), serialized([b"i009"], b"new")]


def test_methods_are_those_that_tf_serving_expects(definitions):
    methods = {
        name: signature.method_name for name, signature in definitions.items() if name[:2] != "__"
    }
    assert methods == {
        "serving_default": "tensorflow/serving/predict",
        "rank": "tensorflow/serving/predict",
        "explain": "tensorflow/serving/predict",
        "retrieve": "tensorflow/serving/predict",
        "recommend": "tensorflow/serving/predict",
        "recommend_filtered": "tensorflow/serving/predict",
        "classify": "tensorflow/serving/classify",
        "regress": "tensorflow/serving/regress",
    }
    assert set(definitions["classify"].inputs) == {"inputs"}
    assert set(definitions["classify"].outputs) == {"classes", "scores"}
    assert set(definitions["regress"].outputs) == {"outputs"}


def test_classify_and_regress_answer_as_serving_default(served):
    expected = score(served, *EXAMPLES)
    classes = served["classify"](inputs=tf.constant(EXAMPLES))
    regressed = served["regress"](inputs=tf.constant(EXAMPLES))
    np.testing.assert_allclose(regressed["outputs"], expected, atol=1e-7)
    np.testing.assert_allclose(
        classes["scores"], np.stack([1 - expected, expected], axis=1), atol=1e-7
    )
    assert classes["classes"].numpy().tolist() == [[b"no", b"yes"]] * 3


def test_the_c_api_of_tf_serving_runs_every_signature(export, served, definitions):
    history, times, candidates = [b"i001", b"i002"], [NOW - 2 * DAY, NOW - DAY], [b"i003", b"new"]
    ranking = {
        "history_item": np.array([history], object),
        "history_time": np.array([times]),
        "history_length": np.array([2]),
        "request_time": np.array([NOW]),
        "candidates": np.array([candidates], object),
    }
    empty = {
        "history_item": np.zeros((1, 0), object),
        "history_time": np.zeros((1, 0), np.int64),
        "history_length": np.array([0]),
    }
    requests = [
        ("serving_default", {"examples": np.array(EXAMPLES, object)}),
        ("classify", {"inputs": np.array(EXAMPLES, object)}),
        ("regress", {"inputs": np.array(EXAMPLES, object)}),
        ("rank", ranking),
        ("rank", ranking | empty),
    ]
    output = {"serving_default": "score", "classify": "scores", "regress": "outputs"}
    runs = [
        {
            "feed": {
                definitions[name].inputs[key].name: c_api.plain(value.ravel().tolist(), value.shape)
                for key, value in inputs.items()
            },
            "fetch": definitions[name].outputs[output.get(name, "scores")].name,
        }
        for name, inputs in requests
    ]
    expected = score(served, *EXAMPLES)
    both = np.ravel(np.stack([1 - expected, expected], axis=1))
    ranked, alone = rank(served, history, candidates), rank(served, [], candidates)
    answers = c_api.ask(export, runs)
    for answer, wanted in zip(answers, (expected, both, expected, ranked, alone), strict=True):
        np.testing.assert_allclose(answer, wanted, atol=1e-6)


def test_warm_up_requests_run_and_cover_every_signature(export, served):
    path = f"{export}/assets.extra/tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator()
    ]
    seen = set()
    for log in logs:
        request = getattr(log, log.WhichOneof("log_type")).request
        name = request.model_spec.signature_name
        seen.add((log.WhichOneof("log_type"), name))
        if name not in ("classify", "regress"):
            inputs = {key: tf.constant(tf.make_ndarray(v)) for key, v in request.inputs.items()}
        else:
            rows = request.input.example_list.examples
            inputs = {"inputs": tf.constant([row.SerializeToString() for row in rows])}
        answer = served[name](**inputs)
        assert all(np.isfinite(v).all() for v in answer.values() if v.dtype.is_floating)
    assert seen == {
        ("predict_log", "serving_default"),
        ("predict_log", "rank"),
        ("predict_log", "explain"),
        ("predict_log", "retrieve"),
        ("predict_log", "recommend"),
        ("predict_log", "recommend_filtered"),
        ("classify_log", "classify"),
        ("regress_log", "regress"),
    }


def test_unknown_ids_share_a_few_rows_by_their_hash(served):
    names = [b"unknown %d" % n for n in range(40)]
    scores = rank(served, [b"i001"], names)
    buckets = tf.strings.to_hash_bucket_fast(names, 2).numpy()
    for bucket in (0, 1):  # the fixture `world` has two buckets
        assert np.ptp(scores[buckets == bucket]) < 1e-7
    histories = [rank(served, [name, b"i002"], [b"i003"])[0] for name in names[:10]]
    for bucket in (0, 1):
        assert np.ptp(np.array(histories)[buckets[:10] == bucket]) < 1e-7
    assert ((scores > 0) & (scores < 1)).all()


def test_ids_that_no_training_reached_have_a_probability(served):
    """The model of these tests is untrained, so every row has its initial values."""
    scores = rank(served, [b"i011", b"i012"], [b"i%03d" % n for n in range(60)])
    assert ((scores > 0) & (scores < 1)).all()
    assert len(np.unique(scores)) > 50


def test_ids_may_be_any_bytes(served):
    odd = [b"\xff\xfe", b"\x00", "é".encode("latin-1")]
    scores = rank(served, [*odd, b"i001"], [*odd, b"i002"])
    assert ((scores > 0) & (scores < 1)).all()


def test_an_empty_history_answers_whatever_its_times(served):
    with_times = rank(served, [], [b"i001"])
    garbage = served["rank"](
        history_item=tf.constant([[b"i005"] * 3]),
        history_time=tf.constant([[-5, 1 << 62, 0]], tf.int64),
        history_length=tf.constant([0], tf.int64),
        request_time=tf.constant([NOW], tf.int64),
        candidates=tf.constant([[b"i001"]]),
    )["scores"].numpy()
    np.testing.assert_allclose(garbage[0], with_times, atol=1e-7)


def test_repeated_ids_count_each_time(served):
    once, twice = (rank(served, [b"i001"] * n, [b"i002"], [NOW] * n) for n in (1, 2))
    assert abs(once - twice) > 1e-6
    candidates = rank(served, [b"i004"], [b"i002", b"i002", b"i003", b"i002"])
    assert candidates[0] == pytest.approx(candidates[1], abs=1e-7)
    assert candidates[0] == pytest.approx(candidates[3], abs=1e-7)


def test_times_out_of_order_are_kept_with_their_events(served):
    """Positions decide the order: swapped times are another request, with a defined answer."""
    history, times = [b"i001", b"i002"], [NOW - 900 * DAY, NOW - DAY]
    swapped = rank(served, history, [b"i003"], times[::-1])
    expected = score(served, serialized(history, days=[1, 900]))
    np.testing.assert_allclose(swapped, expected, atol=1e-6)
    assert abs(swapped - rank(served, history, [b"i003"], times)) > 1e-7


@pytest.mark.parametrize(
    ("times", "now", "same_times", "same_now"),
    [
        ([NOW + 1, NOW + 99 * DAY], NOW, [NOW, NOW], NOW),  # after the request
        ([-1, -(1 << 63)], NOW, [0, 0], NOW),
        ([YEAR_2100 - 1, 0], NOW, [NOW, 0], NOW),
        ([NOW, NOW], -(1 << 63), [0, 0], 0),
    ],
)
def test_times_beyond_any_clock_count_as_the_nearest(served, times, now, same_times, same_now):
    history = [b"i001", b"i002"]
    got = rank(served, history, [b"i003"], times, now)
    expected = rank(served, history, [b"i003"], same_times, same_now)
    np.testing.assert_allclose(got, expected, atol=1e-7)


@pytest.mark.parametrize("late", [YEAR_2100, NOW * 1_000, NOW * 10**6, (1 << 63) - 1])
def test_times_that_are_no_seconds_are_refused(served, late):
    history = [b"i001", b"i002"]
    for name, times, now in (
        ("history_time", [NOW - DAY, late], NOW),
        ("request_time", [NOW - DAY, NOW], late),
    ):
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=f"`{name}` must be Unix seconds .* Received: {late}",
        ):
            rank(served, history, [b"i003"], times, now)
    for name in ("history_time", "target_time"):
        sample = raw_sample(L, history, b"i003")
        sample[name] = [late, *sample[name][1:]] if name == "history_time" else [late]
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=f"`{name}` must be Unix seconds .* Received: {late}",
        ):
            score(served, example(sample))


def test_the_padding_of_a_batcher_is_not_read(served):
    """TF Serving's batcher pads with a tensor's first element, not with zeros."""
    histories = [[b"i001", b"i002", b"i003", b"i004"], [b"i009"]]
    padded = [histories[0], histories[1] + [histories[0][0]] * 3]
    times = [[NOW - DAY] * 4, [NOW - DAY] + [NOW - DAY] * 3]
    got = served["rank"](
        history_item=tf.constant(padded),
        history_time=tf.constant(times, tf.int64),
        history_length=tf.constant([4, 1], tf.int64),
        request_time=tf.constant([NOW, NOW], tf.int64),
        candidates=tf.constant([[b"i005", b"i006"], [b"i007", b"i005"]]),
    )["scores"].numpy()
    expected = rank(served, [b"i009"], [b"i007"], [NOW - DAY])
    np.testing.assert_allclose(got[1, :1], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("history_time", tf.zeros([2, 2], tf.int64)),
        ("history_time", tf.zeros([1, 3], tf.int64)),
        ("history_length", tf.ones([1], tf.int64)),
        ("request_time", tf.ones([1], tf.int64)),
        ("candidates", tf.constant([[b"i001"]])),
    ],
)
def test_inputs_whose_shapes_do_not_match_are_refused(served, part, value):
    request = {
        "history_item": tf.constant([[b"i001"] * 3] * 2),
        "history_time": tf.zeros([2, 3], tf.int64),
        "history_length": tf.ones([2], tf.int64),
        "request_time": tf.ones([2], tf.int64),
        "candidates": tf.constant([[b"i001"]] * 2),
    }
    with pytest.raises(tf.errors.InvalidArgumentError, match=part):
        served["rank"](**request | {part: value})
