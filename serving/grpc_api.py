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

from serving.limits import Call, Limits
from serving.refusal import Refusal, invalid
from serving.service import Service

PREDICTION, MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
_LOG = logging.getLogger("serving")
# Threads that refuse while all others wait or compute, and RPCs that wait for a thread:
# what is beyond them gRPC itself refuses, so that nothing grows.
_SPARE_THREADS, _SPARE_RPCS = 8, 256


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
    limits = service.limits
    return grpc.method_handlers_generic_handler(
        PREDICTION,
        {
            "Predict": _method(predict_pb2.PredictRequest, service.predict, limits),
            "Classify": _method(classification_pb2.ClassificationRequest, service.classify, limits),
            "Regress": _method(regression_pb2.RegressionRequest, service.regress, limits),
            "GetModelMetadata": _method(
                get_model_metadata_pb2.GetModelMetadataRequest,
                lambda request, call: service.metadata(request),
                limits,
            ),
        },
    )


def _model(service: Service) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        MODEL,
        {
            "GetModelStatus": _method(
                get_model_status_pb2.GetModelStatusRequest,
                lambda request, call: service.status(request),
                service.limits,
            )
        },
    )


def _method(
    kind: type, answer: Callable[[Any, Call], Any], limits: Limits
) -> grpc.RpcMethodHandler:
    """A unary method; bytes come in as they are, so that broken ones are INVALID_ARGUMENT."""

    def handle(data: bytes, context: grpc.ServicerContext) -> Any:
        try:
            try:
                request = kind.FromString(data)  # type: ignore[attr-defined]
            except DecodeError:
                raise invalid(f"The bytes are no {kind.__name__}.") from None
            left = context.time_remaining()
            seconds = limits.seconds if left is None else min(left, limits.seconds)
            return answer(request, Call(seconds, context.is_active))
        except Refusal as refusal:
            context.abort(refusal.code, refusal.message)
        except Exception:
            _LOG.exception("A request of %s failed.", kind.__name__)
            context.abort(grpc.StatusCode.INTERNAL, "The server failed; its log says why.")

    return grpc.unary_unary_rpc_method_handler(
        handle, None, lambda message: message.SerializeToString()
    )
