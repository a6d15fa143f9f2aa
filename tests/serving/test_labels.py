"""Several versions at a time, and labels for them, as in TF Serving."""

import shutil

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.errors import RequestError
from serving.versions import Policy, Versions
from tests.support.serving_requests import Running, predict_request, rank_inputs

PATH = "/v1/models/imn"
POLICY = Policy(1, {"imn": {"canary": 3, "old": 1}})


class Loaded:
    """What a fake load gives."""

    def __init__(self, path):
        self.name = path.rsplit("/", 1)[-1]
        OPEN.add(self.name)

    def close(self):
        OPEN.remove(self.name)


OPEN = set()  # versions that are loaded and not closed


@pytest.fixture
def serve(tmp_path):
    """Serves fake versions under a policy; `serve.push` adds one."""
    OPEN.clear()

    def run(count, policy):
        for version in range(1, count + 1):
            (tmp_path / str(version)).mkdir()
        found = Versions("imn", str(tmp_path), Loaded, policy)
        found.poll()
        return found

    run.push = lambda version: (tmp_path / str(version)).mkdir()
    return run


def test_the_newest_two_are_served_and_the_third_is_closed(serve):
    found = serve(3, Policy(2))
    assert found.served == [3, 2]
    serve.push(4)
    found.poll()
    assert found.served == [4, 3]
    assert sorted(OPEN) == ["3", "4"]
    with found.use() as (version, _):
        assert version == 4
    with found.use(3) as (version, _):
        assert version == 3
    with pytest.raises(RequestError, match=r"2 of model `imn` is not served\. Served: 3, 4"):
        found.use(2).__enter__()


def test_a_labelled_version_stays_beside_the_newest(serve):
    found = serve(3, Policy(1, {"imn": {"old": 1}, "other": {"old": 2}}))
    assert found.served == [3, 1]
    serve.push(4)
    found.poll()
    assert found.served == [4, 1]
    assert found.labels == {"stable": 4, "old": 1}
    found.close()
    assert not OPEN


def test_stable_follows_the_newest_unless_it_is_set(serve):
    found = serve(2, Policy())
    with found.use(found.labelled("stable")) as (version, _):
        assert version == 2
    serve.push(3)
    found.poll()
    with found.use(found.labelled("stable")) as (version, _):
        assert version == 3
    fixed = Versions("imn", found._folder, Loaded, Policy(1, {"imn": {"stable": 2}}))
    fixed.poll()
    assert fixed.labelled("stable") == 2
    assert fixed.labels == {"stable": 2}


@pytest.fixture(scope="module")
def labelled(light, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    for version in ("1", "3"):
        shutil.copytree(light, folder / "imn" / version)
    server = Running(folder, policy=POLICY)
    yield server
    server.stop()


@pytest.mark.parametrize(("label", "version"), [("stable", 3), ("canary", 3), ("old", 1)])
def test_a_label_names_a_version_over_grpc(labelled, expected, label, version):
    request = predict_request(rank_inputs())
    request.model_spec.version_label = label
    answer = labelled.stub.Predict(request, 20)
    assert answer.model_spec.version.value == version
    np.testing.assert_allclose(tf.make_ndarray(answer.outputs["scores"]), expected, atol=1e-6)
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name, request.model_spec.version_label = "imn", label
    answer = labelled.stub.GetModelMetadata(request, 20)
    assert answer.model_spec.version.value == version


def rank_body():
    plain = {name: value.tolist() for name, value in rank_inputs().items()}
    for name in ("history_item", "candidates"):
        plain[name] = [[item.decode() for item in row] for row in plain[name]]
    return {"signature_name": "rank", "inputs": plain}


@pytest.mark.parametrize(("label", "version"), [("stable", "3"), ("old", "1")])
def test_a_label_names_a_version_over_rest(labelled, expected, label, version):
    status, answer = labelled.http(f"{PATH}/labels/{label}:predict", rank_body())
    assert status == 200, answer
    np.testing.assert_allclose(answer["outputs"], expected, atol=1e-6)
    _, answer = labelled.http(f"{PATH}/labels/{label}/metadata")
    assert answer["model_spec"] == {"name": "imn", "version": version}


def test_the_status_of_a_label_is_that_of_all_versions(labelled):
    """GetModelStatusImpl of TF Serving looks at the version alone."""
    status, answer = labelled.http(f"{PATH}/labels/old")
    assert status == 200
    assert [row["version"] for row in answer["model_version_status"]] == ["3", "1"]


def test_an_unknown_label_is_an_invalid_argument(labelled):
    says = "Unrecognized servable version label: beta. Labels of `imn`: `canary`, `old`, `stable`."
    assert labelled.http(f"{PATH}/labels/beta:predict", rank_body()) == (400, {"error": says})
    request = predict_request(rank_inputs())
    request.model_spec.version_label = "beta"
    with pytest.raises(grpc.RpcError) as refusal:
        labelled.stub.Predict(request, 20)
    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.value.details() == says


@pytest.mark.parametrize("path", ["/labels/:predict", "/labels/a/b:predict", "/labels:predict"])
def test_a_path_with_half_a_label_is_none(labelled, path):
    assert labelled.http(PATH + path, rank_body())[0] == 404
