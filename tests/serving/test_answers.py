"""Both protocols against the same export in Python's own loader."""

import base64

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    regression_pb2,
)

from tests.support.raw_examples import example, raw_sample
from tests.support.serving_requests import CANDIDATES, HISTORY, predict_request, rank_inputs

MODEL = "/v1/models/imn"
EXAMPLES = [
    example(raw_sample(6, [b"i001", b"i002"], b"i003")),
    example(raw_sample(6, [], b"i003")),
    example(raw_sample(6, [b"\xff\xfe"], b"new")),
]


@pytest.fixture(scope="module")
def scores(reference):
    return reference["serving_default"](examples=tf.constant(EXAMPLES))["score"].numpy()


def input_of(request):
    request.model_spec.name = "imn"
    request.input.example_list.examples.extend(map(tf.train.Example.FromString, EXAMPLES))
    return request


def json_rank(history=HISTORY, candidates=CANDIDATES):
    inputs = rank_inputs(history, candidates)
    plain = {name: value[0].tolist() for name, value in inputs.items()}
    for name in ("history_item", "candidates"):
        plain[name] = [item.decode() for item in plain[name]]
    return plain


def test_predict_gives_the_export_s_scores(running, expected, scores):
    np.testing.assert_allclose(running.rank(), expected, atol=1e-6)
    request = predict_request({"examples": np.array(EXAMPLES, object)}, "")
    answer = running.stub.Predict(request, 20)
    np.testing.assert_allclose(tf.make_ndarray(answer.outputs["score"]), scores, atol=1e-6)
    assert answer.model_spec.version.value == 1


@pytest.mark.parametrize("signature", ["recommend", "retrieve", "recommend_filtered"])
def test_the_best_of_the_catalogue_by_both_protocols(running, reference, signature):
    inputs = rank_inputs()
    del inputs["candidates"]
    inputs["k"] = np.array([4])
    if signature == "recommend_filtered":
        inputs["exclude_history"] = np.array([True])
        inputs["exclude"] = np.array([[b"i040", b""]], object)
        inputs["only_values"] = np.array([[b""]], object)
        inputs["only_items"] = np.array([[b"i003", b"i040", b"i001", b"i050"]], object)
    wanted = reference[signature](**{name: tf.constant(value) for name, value in inputs.items()})
    wanted = {name: value.numpy() for name, value in wanted.items()}
    answer = running.stub.Predict(predict_request(inputs, signature), 20)
    for name, value in wanted.items():
        given = tf.make_ndarray(answer.outputs[name])
        if value.dtype == np.float32:
            np.testing.assert_allclose(given, value, atol=1e-5)
        else:
            assert given.tolist() == value.tolist()
    instance = {
        name: [text.decode() for text in value[0]] if value.dtype == object else value[0].tolist()
        for name, value in inputs.items()
    }
    body = {"signature_name": signature, "instances": [instance]}
    status, answer = running.http(f"{MODEL}:predict", body)
    assert status == 200
    items = [text.decode() for text in wanted["items"][0]]
    assert answer["predictions"][0]["items"] == items
    if signature == "recommend_filtered":
        assert {"i003", "i050"} == set(filter(None, items))
        body["instances"][0]["exclude_history"] = 1
        status, answer = running.http(f"{MODEL}:predict", body)
        assert (status, "expected true or false" in answer["error"]) == (400, True)


def test_classify_and_regress(running, scores):
    request = input_of(classification_pb2.ClassificationRequest())
    request.model_spec.signature_name = "classify"
    rows = running.stub.Classify(request, 20).result.classifications
    assert [[each.label for each in row.classes] for row in rows] == [["no", "yes"]] * 3
    np.testing.assert_allclose([row.classes[1].score for row in rows], scores, atol=1e-6)
    request = input_of(regression_pb2.RegressionRequest())
    request.model_spec.signature_name = "regress"
    values = [each.value for each in running.stub.Regress(request, 20).result.regressions]
    np.testing.assert_allclose(values, scores, atol=1e-6)


def test_a_common_context_is_part_of_every_example(running, scores):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "imn", "regress"
    source = request.input.example_list_with_context
    own = tf.train.Example.FromString(EXAMPLES[0])
    source.context.CopyFrom(own)
    target = source.examples.add().features.feature["target_item"]
    target.bytes_list.value.append(own.features.feature["target_item"].bytes_list.value[0])
    del source.context.features.feature["target_item"]
    value = running.stub.Regress(request, 20).result.regressions[0].value
    assert value == pytest.approx(scores[0], abs=1e-6)


def test_an_output_filter_keeps_what_it_names(running):
    request = predict_request({"inputs": np.array(EXAMPLES, object)}, "classify")
    request.output_filter.append("scores")
    assert set(running.stub.Predict(request, 20).outputs) == {"scores"}


def test_metadata_and_status(running):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "imn"
    packed = running.stub.GetModelMetadata(request, 20).metadata["signature_def"]
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert packed.Unpack(signatures)
    names = {"serving_default", "rank", "explain", "classify", "regress"}
    names |= {"retrieve", "recommend", "recommend_filtered"}
    assert set(signatures.signature_def) == names
    assert "history_item" in signatures.signature_def["rank"].inputs
    stub = model_service_pb2_grpc.ModelServiceStub(running.channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "imn"
    (row,) = stub.GetModelStatus(request, 20).model_version_status
    assert (row.version, row.state) == (1, get_model_status_pb2.ModelVersionStatus.AVAILABLE)


def test_the_status_of_a_version_that_there_is_not(running):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name, request.model_spec.version.value = "imn", 7
    stub = model_service_pb2_grpc.ModelServiceStub(running.channel)
    with pytest.raises(grpc.RpcError) as refusal:
        stub.GetModelStatus(request, 20)
    assert refusal.value.code() == grpc.StatusCode.NOT_FOUND
    says = "Could not find version 7 of model imn"
    assert refusal.value.details() == says
    assert running.http(f"{MODEL}/versions/7") == (404, {"error": says})


def test_health(running):
    stub = health_pb2_grpc.HealthStub(running.channel)
    for service in ("", "tensorflow.serving.PredictionService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_rest_by_rows_and_by_columns(running, expected):
    row = json_rank()
    body = {"signature_name": "rank", "instances": [row, row]}
    status, answer = running.http(f"{MODEL}:predict", body)
    assert status == 200
    np.testing.assert_allclose(answer["predictions"], [expected[0]] * 2, atol=1e-6)
    columns = {name: [value] for name, value in row.items()}
    body = {"signature_name": "rank", "inputs": columns}
    status, answer = running.http(f"{MODEL}/versions/1:predict", body)
    assert status == 200
    np.testing.assert_allclose(answer["outputs"], expected, atol=1e-6)


def test_rest_takes_examples_in_base64(running, scores):
    encoded = [{"b64": base64.b64encode(each).decode()} for each in EXAMPLES]
    for instances in (encoded, [{"examples": each} for each in encoded]):
        status, answer = running.http(f"{MODEL}:predict", {"instances": instances})
        assert status == 200
        np.testing.assert_allclose(answer["predictions"], scores, atol=1e-6)
    # Several outputs, hence a dict a row.
    body = {"signature_name": "classify", "instances": encoded}
    _, answer = running.http(f"{MODEL}:predict", body)
    assert answer["predictions"][0]["classes"] == ["no", "yes"]
    assert answer["predictions"][0]["scores"][1] == pytest.approx(scores[0], abs=1e-6)


def test_rest_classify_and_regress(running, scores):
    rows = [
        {
            name: [each.decode() if isinstance(each, bytes) else each for each in values]
            for name, values in raw_sample(6, history, b"i003").items()
        }
        for history in ([b"i001", b"i002"], [])
    ]
    body = {"signature_name": "regress", "examples": rows}
    status, answer = running.http(f"{MODEL}:regress", body)
    assert status == 200
    np.testing.assert_allclose(answer["result"], scores[:2], atol=1e-6)
    body = {"signature_name": "classify", "context": rows[0], "examples": [{}]}
    status, answer = running.http(f"{MODEL}:classify", body)
    assert status == 200
    ((no, yes),) = answer["result"]
    assert (no[0], yes[0]) == ("no", "yes")
    assert yes[1] == pytest.approx(scores[0], abs=1e-6)


def test_rest_status_and_metadata(running):
    status, answer = running.http(MODEL)
    assert (status, answer) == (
        200,
        {
            "model_version_status": [
                {
                    "version": "1",
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
            ]
        },
    )
    status, answer = running.http(f"{MODEL}/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "imn", "version": "1"}
    rank = answer["metadata"]["signature_def"]["signature_def"]["rank"]
    assert rank["inputs"]["candidates"]["dtype"] == "DT_STRING"


@pytest.mark.parametrize("history", [[], [b"i001"], [b"i001"] * 50])
def test_histories_of_any_length(running, reference, history):
    inputs = {name: tf.constant(value) for name, value in rank_inputs(history).items()}
    if not history:
        inputs["history_item"] = tf.zeros([1, 0], tf.string)
    wanted = reference["rank"](**inputs)["scores"].numpy()
    request = predict_request({name: value.numpy() for name, value in inputs.items()})
    got = tf.make_ndarray(running.stub.Predict(request, 20).outputs["scores"])
    np.testing.assert_allclose(got, wanted, atol=1e-6)
    columns = {name: [value] for name, value in json_rank(history).items()}
    _, answer = running.http(f"{MODEL}:predict", {"signature_name": "rank", "inputs": columns})
    np.testing.assert_allclose(answer["outputs"], wanted, atol=1e-6)


def test_a_compressed_call_is_understood(running, expected):
    answer = running.stub.Predict(
        predict_request(rank_inputs()), 20, compression=grpc.Compression.Gzip
    )
    np.testing.assert_allclose(tf.make_ndarray(answer.outputs["scores"]), expected, atol=1e-6)


def test_the_page_is_off_unless_it_is_asked_for(running):
    for path in ("/", "/page/app.js", "/imn/models"):
        status, answer = running.http(path)
        assert status == 404
        assert "GET /v1/models/NAME" in answer["error"]
