"""TF Serving's gRPC services, with health, over a `Service`."""

import logging
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.errors import RequestError, invalid
from serving.limits import Deadline
from serving.service import Service

PREDICTION, MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
_LOG = logging.getLogger("serving")
# Threads that refuse while all others wait or compute, and RPCs that wait for a thread:
# what is beyond them gRPC itself refuses, so that nothing grows.
_SPARE_THREADS, _SPARE_RPCS = 8, 256
_QUESTION_BYTES = 64 << 10  # of a request for a status or metadata, which name a model


class GrpcServer:
    """The gRPC port.

    Args:
      service: what answers.
      address: `host:port`, port 0 for any that is free.

    Raises:
      OSError: where the address cannot be listened on.
    """

    def __init__(self, service: Service, address: str):
        limits = service.limits
        threads = limits.running + limits.queue + _SPARE_THREADS
        self._server = grpc.server(
            futures.ThreadPoolExecutor(threads, thread_name_prefix="grpc"),
            handlers=[_prediction(service), _model(service)],
            maximum_concurrent_rpcs=threads + _SPARE_RPCS,
            options=[
                ("grpc.max_receive_message_length", limits.message_bytes),
                ("grpc.so_reuseport", 0),  # a second server on the port is a mistake
            ],
        )
        self.health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError:
            self.port = 0
        if not self.port:
            raise OSError(f"Cannot listen on {address} for gRPC: is the port taken?")

    def start(self) -> None:
        """Answers from now on."""
        self._server.start()

    def tell_health(self, serving: bool) -> None:
        """What the health service says of the server, and of PredictionService."""
        status = health_pb2.HealthCheckResponse
        for name in ("", PREDICTION, MODEL):
            self.health.set(name, status.SERVING if serving else status.NOT_SERVING)

    def stop(self, grace: float) -> None:
        """Takes no new requests, and gives those under way so many seconds."""
        self.health.enter_graceful_shutdown()
        self._server.stop(grace).wait()


def _prediction(service: Service) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        PREDICTION,
        {
            "Predict": _computing(service, predict_pb2.PredictRequest, service.predict),
            "Classify": _computing(
                service, classification_pb2.ClassificationRequest, service.classify
            ),
            "Regress": _computing(service, regression_pb2.RegressionRequest, service.regress),
            "GetModelMetadata": _telling(
                get_model_metadata_pb2.GetModelMetadataRequest, service.metadata
            ),
        },
    )


def _model(service: Service) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        MODEL,
        {"GetModelStatus": _telling(get_model_status_pb2.GetModelStatusRequest, service.status)},
    )


def _computing(
    service: Service, kind: type, answer: Callable[[Any, Deadline], Any]
) -> grpc.RpcMethodHandler:
    def handle(data: bytes, context: grpc.ServicerContext) -> Any:
        left, most = context.time_remaining(), service.limits.seconds
        deadline = Deadline(most if left is None else min(left, most), context.is_active)
        # A parsed request is many times its bytes: no more of them than requests that compute.
        with service.turn(deadline):
            return answer(_parsed(kind, data), deadline)

    return _method(kind, handle)


def _telling(kind: type, answer: Callable[[Any], Any]) -> grpc.RpcMethodHandler:
    def handle(data: bytes, context: grpc.ServicerContext) -> Any:
        if len(data) > _QUESTION_BYTES:  # parsed out of turn
            raise invalid(
                f"A {kind.__name__} may have at most {_QUESTION_BYTES:,} bytes. "
                f"Received: {len(data):,}."
            )
        return answer(_parsed(kind, data))

    return _method(kind, handle)


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise invalid(f"The bytes are no {kind.__name__}.") from None


def _method(
    kind: type, handle: Callable[[bytes, grpc.ServicerContext], Any]
) -> grpc.RpcMethodHandler:
    """A unary method; bytes come in as they are, so that broken ones are INVALID_ARGUMENT."""

    def run(data: bytes, context: grpc.ServicerContext) -> Any:
        try:
            return handle(data, context)
        except RequestError as refusal:
            context.abort(refusal.code, refusal.message)
        except Exception:
            _LOG.exception("A request of %s failed.", kind.__name__)
            context.abort(grpc.StatusCode.INTERNAL, "The server failed; its log says why.")

    return grpc.unary_unary_rpc_method_handler(
        run, None, lambda message: message.SerializeToString()
    )
