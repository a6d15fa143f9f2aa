"""Requests, and servers to send them to."""

import json
import urllib.error
import urllib.request

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.grpc_api import GrpcServer
from serving.limits import Limits
from serving.page.routes import Page
from serving.rest.server import RestServer
from serving.service import Service
from tests.support.raw_examples import DAY, NOW

HISTORY = [b"i001", b"i002", b"never seen"]
CANDIDATES = [b"i003", b"i040", b"unknown"]


def rank_inputs(history=HISTORY, candidates=CANDIDATES, rows=1):
    times = [NOW - day * DAY for day in range(len(history), 0, -1)]
    return {
        "history_item": np.array([history] * rows, object),
        "history_time": np.array([times] * rows, np.int64),
        "history_length": np.array([len(history)] * rows, np.int64),
        "request_time": np.array([NOW] * rows, np.int64),
        "candidates": np.array([candidates] * rows, object),
    }


def predict_request(inputs, signature="rank", name="imn"):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    for key, value in inputs.items():
        made = isinstance(value, tensor_pb2.TensorProto)
        request.inputs[key].CopyFrom(value if made else tf.make_tensor_proto(value))
    return request


class Asking:
    """The ways to ask a server by its ports."""

    def __init__(self, grpc_port, rest_port):
        self.grpc_port, self.rest_port = grpc_port, rest_port
        self.channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    def rank(self, **changes):
        answer = self.stub.Predict(predict_request(rank_inputs(**changes)), 20)
        return tf.make_ndarray(answer.outputs["scores"])

    def http(self, path, body=None):
        """Status and JSON of a REST request; `body` as JSON or as bytes."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        status, answer, _ = self.raw(path, data)
        return status, json.loads(answer)

    def raw(self, path, data=None):
        """Status, bytes and headers of an HTTP request."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest_port}{path}", data)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers


class Running(Asking):
    """A server in this process; `page_data` adds the page."""

    def __init__(self, models, limits=None, policy=None, page_data=None):
        self.service = Service(str(models), limits or Limits(), policy)
        self.page = Page(self.service, page_data) if page_data else None
        self.grpc = GrpcServer(self.service, "127.0.0.1:0")
        add_page = self.page.add_routes if self.page else None
        self.rest = RestServer(self.service, "127.0.0.1", 0, add_page)
        self.service.registry.poll()
        self.grpc.set_health(self.service.registry.available)
        self.grpc.start()
        self.rest.start()
        super().__init__(self.grpc.port, self.rest.port)

    def stop(self):
        self.channel.close()
        self.rest.stop(5)
        self.grpc.stop(5)
        if self.page:
            self.page.close()
        self.service.registry.close()
