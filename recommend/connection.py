"""Asks a pushed model: loaded in this process, or behind a gRPC server."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.errors import InputError
from recommend.behind import unusable
from serving import quiet
from serving.errors import RequestError

# Takes the name and the inputs of a signature, returns its outputs.
Predict = Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]


def connect(folder: str, name: str, server: str) -> tuple[Predict, set[str], str]:
    """Connects to a model.

    Args:
      folder: the folder of the version.
      name: the name of the model.
      server: `HOST:PORT` of a gRPC server, or "" to load the model here.

    Returns:
      a function that asks the model, the names of its signatures, and its name for the output.

    Raises:
      InputError: if the model does not load, or the server does not answer. The function raises it
        too, if the model refuses its inputs.
    """
    if server:
        return _server(server, name)
    with quiet.imports():
        import tensorflow as tf

        from serving.model import Model

    tf.get_logger().setLevel("ERROR")
    try:
        model = Model(folder)
    except Exception as error:  # TensorFlow raises many types for a broken SavedModel.
        raise unusable(folder, "load", error) from None

    def predict(signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            return model.run(model.signatures[signature], inputs, seconds=60)
        except RequestError as error:
            raise unusable(folder, f"answer `{signature}`", error) from None

    return predict, set(model.signatures), f"{name}, version {os.path.basename(folder)},"


def _server(address: str, name: str) -> tuple[Predict, set[str], str]:
    with quiet.imports():
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import (
            get_model_metadata_pb2,
            predict_pb2,
            prediction_service_pb2_grpc,
        )

    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(address))

    def call(method: Any, request: Any) -> Any:
        request.model_spec.name = name
        try:
            return method(request, timeout=60)
        except grpc.RpcError as error:
            raise InputError(
                f"The server at {address} answered {error.code().name}: {error.details()}"
            ) from None

    def predict(signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = signature
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value, shape=value.shape))
        answer = call(stub.Predict, request)
        return {key: tf.make_ndarray(value) for key, value in answer.outputs.items()}

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    answer = call(stub.GetModelMetadata, request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    model = f"{name}, version {answer.model_spec.version.value} at {address},"
    return predict, set(signatures.signature_def), model
