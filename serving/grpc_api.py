"""The gRPC port: TF Serving's services and gRPC health, answered by a `Service`."""

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
# Threads that stay free to refuse requests, and RPCs that wait for a thread. gRPC refuses more, so
# memory is bounded.
_SPARE_THREADS, _SPARE_RPCS = 8, 256
_QUERY_BYTES = 64 << 10  # A request for status or metadata holds little more than a name.


class GrpcServer:
    """The gRPC port.

    Args:
      service: answers the requests.
      address: `host:port`, or `[host]:port` for IPv6. Port 0 takes any free port.

    Raises:
      OSError: if the server cannot listen on the address.
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
                ("grpc.so_reuseport", 0),  # Refuse a second server on the port.
            ],
        )
        self.health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError:
            self.port = 0
        if not self.port:
            raise OSError(
                f"Cannot listen on {address} for gRPC. Is the port taken? "
                "`--grpc-port` sets another."
            )

    def start(self) -> None:
        """Starts to answer requests."""
        self._server.start()

    def set_health(self, serving: bool) -> None:
        """Sets the status that the health service reports for the server and its services."""
        status = health_pb2.HealthCheckResponse
        for name in ("", PREDICTION, MODEL):
            self.health.set(name, status.SERVING if serving else status.NOT_SERVING)

    def stop(self, grace: float) -> None:
        """Refuses new requests, and lets requests in progress run for `grace` seconds."""
        self.health.enter_graceful_shutdown()
        self._server.stop(grace).wait()


def _prediction(service: Service) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        PREDICTION,
        {
            name: _compute_method(service, name, kind, answer)
            for name, kind, answer in (
                ("Predict", predict_pb2.PredictRequest, service.predict),
                ("Classify", classification_pb2.ClassificationRequest, service.classify),
                ("Regress", regression_pb2.RegressionRequest, service.regress),
            )
        }
        | {
            "GetModelMetadata": _query_method(
                get_model_metadata_pb2.GetModelMetadataRequest, service.metadata
            ),
        },
    )


def _model(service: Service) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        MODEL,
        {
            "GetModelStatus": _query_method(
                get_model_status_pb2.GetModelStatusRequest, service.status
            )
        },
    )


def _compute_method(
    service: Service, api: str, kind: type, answer: Callable[[Any, Deadline], Any]
) -> grpc.RpcMethodHandler:
    def handle(data: bytes, context: grpc.ServicerContext) -> Any:
        left, most = context.time_remaining(), service.limits.seconds
        deadline = Deadline(most if left is None else min(left, most), context.is_active)
        # A parsed request takes many times its bytes, so only requests that may compute are parsed.
        with service.metrics.counted(api, "GRPC") as count, service.turn(deadline):
            request = _parsed(kind, data)
            count.model = request.model_spec.name
            return answer(request, deadline)

    return _method(kind, handle)


def _query_method(kind: type, answer: Callable[[Any], Any]) -> grpc.RpcMethodHandler:
    def handle(data: bytes, context: grpc.ServicerContext) -> Any:
        if len(data) > _QUERY_BYTES:  # It is parsed without a turn.
            raise invalid(
                f"A {kind.__name__} may have at most {_QUERY_BYTES:,} bytes. "
                f"Received: {len(data):,}."
            )
        return answer(_parsed(kind, data))

    return _method(kind, handle)


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise invalid(
            f"The request must be a {kind.__name__}. Received: bytes that cannot be parsed."
        ) from None


def _method(
    kind: type, handle: Callable[[bytes, grpc.ServicerContext], Any]
) -> grpc.RpcMethodHandler:
    """A unary method. It parses the bytes itself, so that bad ones give INVALID_ARGUMENT."""

    def run(data: bytes, context: grpc.ServicerContext) -> Any:
        try:
            return handle(data, context)
        except RequestError as refusal:
            context.abort(refusal.code, refusal.message)
        except Exception:
            _LOG.exception("A %s failed.", kind.__name__)
            context.abort(grpc.StatusCode.INTERNAL, "Internal error. See the log of the server.")

    return grpc.unary_unary_rpc_method_handler(
        run, None, lambda message: message.SerializeToString()
    )
