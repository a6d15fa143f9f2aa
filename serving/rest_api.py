"""The REST port: TF Serving's paths on aiohttp, answered by a `Service`."""

import asyncio
import json
import logging
import re
import socket
import threading
from concurrent import futures
from typing import Any

import grpc
from aiohttp import web
from google.protobuf import json_format as protobuf_json
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from serving import json_format
from serving.errors import RequestError, invalid
from serving.limits import Deadline
from serving.service import Service

_LOG = logging.getLogger("serving")
_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>[0-9]{1,18}))?"
    r"(:(?P<method>predict|classify|regress)|(?P<metadata>/metadata))?"
)
# The HTTP status for each gRPC status, as in TF Serving.
_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_SPARE_THREADS = 8  # They stay free to refuse requests or report a status.


class RestServer:
    """The REST port. An event loop in one thread reads requests; a thread pool answers them.

    Args:
      service: answers the requests.
      host: the interface.
      port: the port. 0 takes any free port.

    Raises:
      OSError: if the server cannot listen on the address.
    """

    def __init__(self, service: Service, host: str, port: int):
        self._service, limits = service, service.limits
        self._threads = limits.running + limits.queue + _SPARE_THREADS
        self._pool = futures.ThreadPoolExecutor(self._threads, thread_name_prefix="rest")
        self._under_way = 0  # Only the loop's thread changes it.
        try:
            self._socket = socket.create_server((host, port), backlog=128)
        except OSError as error:
            raise OSError(
                f"Cannot listen on {host}:{port} for REST: {error.strerror}. "
                "`--rest-port` sets another."
            ) from None
        self.port = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rest", daemon=True)
        self._runner: web.AppRunner | None = None

    def start(self) -> None:
        """Starts to answer requests."""

        async def listen() -> web.AppRunner:
            app = web.Application(client_max_size=self._service.limits.message_bytes)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
            await runner.setup()
            await web.SockSite(runner, self._socket).start()
            return runner

        self._thread.start()
        self._runner = asyncio.run_coroutine_threadsafe(listen(), self._loop).result()

    def stop(self, grace: float) -> None:
        """Refuses new connections, and lets requests in progress run for `grace` seconds."""
        if self._runner:
            asyncio.run_coroutine_threadsafe(self._drain(self._runner, grace), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        self._socket.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _drain(self, runner: web.AppRunner, grace: float) -> None:
        for site in list(runner.sites):
            await site.stop()
        end = self._loop.time() + grace
        await asyncio.sleep(0)  # Requests that have arrived are counted after this.
        if runner.server:
            runner.server.pre_shutdown()  # Connections close after their answer.
        while self._under_way and self._loop.time() < end:
            await asyncio.sleep(0.02)
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        if (
            self._under_way >= self._threads
        ):  # Checked before the body is read, so bodies cannot pile up.
            return _json({"error": "The queue is full. Try again later."}, 429)
        self._under_way += 1
        try:
            answer, status = await self._answer(request), 200
        except RequestError as refusal:
            answer, status = {"error": refusal.message}, _STATUS.get(refusal.code, 500)
        except web.HTTPRequestEntityTooLarge:
            most = self._service.limits.message_bytes
            answer, status = {"error": f"A request may have at most {most:,} bytes."}, 413
        except (ConnectionError, web.RequestPayloadError):
            raise  # The client disconnected or sent a broken body.
        except Exception:
            _LOG.exception("A request to %s failed.", request.path)
            answer, status = {"error": "Internal error. See the log of the server."}, 500
        finally:
            self._under_way -= 1
        return _json(answer, status)

    async def _answer(self, request: web.Request) -> dict[str, Any]:
        seconds = self._service.limits.seconds
        deadline = Deadline(seconds, lambda: request.transport is not None)
        try:
            body = await asyncio.wait_for(request.read(), deadline.left())
        except asyncio.TimeoutError:
            raise RequestError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"The request was not complete within {seconds:g} seconds.",
            ) from None
        return await self._loop.run_in_executor(
            self._pool, _dispatch, self._service, request.method, request.path, body, deadline
        )


def _json(answer: dict[str, Any], status: int) -> web.Response:
    return web.Response(
        body=json.dumps(answer).encode(), status=status, content_type="application/json"
    )


def _dispatch(
    service: Service, verb: str, path: str, body: bytes, deadline: Deadline
) -> dict[str, Any]:
    match = _PATH.fullmatch(path)
    if not match or verb != ("POST" if match["method"] else "GET"):
        raise RequestError(
            grpc.StatusCode.NOT_FOUND,
            "The path must be GET /v1/models/NAME or .../NAME/metadata, or POST .../NAME:predict, "
            f":classify or :regress. Received: {verb} {path}.",
        )
    spec = model_pb2.ModelSpec(name=match["name"])
    if match["version"]:
        spec.version.value = int(match["version"])
    if match["metadata"]:
        return _metadata(service, spec)
    if verb == "GET":
        return _status(service, spec)
    # A parsed body takes many times its bytes, so only requests that may compute are parsed.
    with service.turn(deadline):
        return _compute(service, spec, match["method"], _parse(body), deadline)


def _compute(
    service: Service,
    spec: model_pb2.ModelSpec,
    method: str,
    fields: dict[str, Any],
    deadline: Deadline,
) -> dict[str, Any]:
    name = fields.get("signature_name", "")
    if not isinstance(name, str) or not name.isprintable():
        raise invalid("`signature_name` must be a string of printable characters.")
    spec.signature_name = name
    if method == "predict":
        return _predict(service, spec, fields, deadline)
    return _examples(service, spec, fields, deadline, method)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise invalid(f"The body must be JSON in UTF-8. Received: {error}.") from None
    if not isinstance(fields, dict):
        raise invalid("The body must be a JSON object.")
    return fields


def _predict(
    service: Service, spec: model_pb2.ModelSpec, fields: dict[str, Any], deadline: Deadline
) -> dict[str, Any]:
    _, values = service.run(
        spec, lambda signature: json_format.inputs(signature, fields, service.limits), deadline
    )
    return json_format.outputs(values, "instances" in fields)


def _examples(
    service: Service,
    spec: model_pb2.ModelSpec,
    fields: dict[str, Any],
    deadline: Deadline,
    method: str,
) -> dict[str, Any]:
    kinds: dict[str, Any] = {
        "classify": classification_pb2.ClassificationRequest,
        "regress": regression_pb2.RegressionRequest,
    }
    request = kinds[method](model_spec=spec)
    rows, context = json_format.examples(fields)
    request.input.example_list_with_context.examples.extend(rows)
    request.input.example_list_with_context.context.CopyFrom(context)
    if method == "classify":
        classified = service.classify(request, deadline).result.classifications
        return {
            "result": [[[each.label, each.score] for each in row.classes] for row in classified]
        }
    return {
        "result": [each.value for each in service.regress(request, deadline).result.regressions]
    }


def _status(service: Service, spec: model_pb2.ModelSpec) -> dict[str, Any]:
    request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
    states = get_model_status_pb2.ModelVersionStatus.State
    return {
        "model_version_status": [
            {
                "version": str(row.version),
                "state": states.Name(row.state),
                "status": {
                    "error_code": "UNKNOWN" if row.status.error_code else "OK",
                    "error_message": row.status.error_message,
                },
            }
            for row in service.status(request).model_version_status
        ]
    }


def _metadata(service: Service, spec: model_pb2.ModelSpec) -> dict[str, Any]:
    request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec)
    request.metadata_field.append("signature_def")
    answer = service.metadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    return {
        "model_spec": protobuf_json.MessageToDict(
            answer.model_spec, preserving_proto_field_name=True
        ),
        "metadata": {
            "signature_def": protobuf_json.MessageToDict(
                signatures, preserving_proto_field_name=True
            )
        },
    }
