"""TF Serving's REST paths over a `Service`, on the standard library's HTTP server."""

import json
import logging
import re
import select
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf import json_format as protobuf_json
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from serving import json_format
from serving.limits import Call
from serving.refusal import Refusal, invalid
from serving.service import Service

_LOG = logging.getLogger("serving")
_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>[0-9]{1,18}))?"
    r"(:(?P<method>predict|classify|regress)|(?P<metadata>/metadata))?"
)
# As TF Serving translates them.
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
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Content-Length: 33\r\nConnection: close\r\n\r\n"
    b'{"error": "Too many connections"}'
)


class RestServer(ThreadingHTTPServer):
    """The REST port; `start` answers in threads of its own.

    Args:
      service: what answers.
      host: the interface.
      port: 0 for any that is free.

    Raises:
      OSError: where the address cannot be listened on.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, service: Service, host: str, port: int):
        self.service, self.stopping = service, False
        self._open = threading.Semaphore(service.limits.connections)
        self._busy, self._lock = 0, threading.Condition()
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise OSError(f"Cannot listen on {host}:{port} for REST: {error.strerror}.") from None
        self.port = self.server_address[1]

    def start(self) -> None:
        """Answers from now on."""
        threading.Thread(target=self.serve_forever, args=(0.1,), name="rest", daemon=True).start()

    def stop(self, grace: float) -> None:
        """Takes no new connections, and gives the requests under way so many seconds."""
        self.stopping = True
        self.shutdown()
        self.server_close()
        end = time.monotonic() + grace
        with self._lock:
            self._lock.wait_for(lambda: not self._busy, max(end - time.monotonic(), 0))

    def work(self, change: int) -> None:
        """Counts requests between their first line and the end of their answer."""
        with self._lock:
            self._busy += change
            self._lock.notify_all()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Called for a new connection; beyond the limit it is refused here, without a thread."""
        if not self._open.acquire(blocking=False):
            try:
                request.settimeout(1)
                request.sendall(_BUSY)
            except OSError:
                pass
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Called in the thread of a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Called for what a handler raises: a client that has gone is no error of ours."""
        _LOG.debug("The connection of %s broke.", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: RestServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "imn", ""
    timeout = 30  # seconds that a client may be silent
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Status and metadata."""
        self._answer("GET")

    def do_POST(self) -> None:
        """Predict, classify and regress."""
        self._answer("POST")

    def _answer(self, verb: str) -> None:
        self.server.work(1)
        try:
            try:
                answer, status = self._dispatch(verb), 200
            except Refusal as refusal:
                answer, status = {"error": refusal.message}, _STATUS.get(refusal.code, 500)
            except (TimeoutError, ConnectionError):
                self.close_connection = True
                return
            except Exception:
                _LOG.exception("A request of %s failed.", self.path)
                answer, status = {"error": "The server failed; its log says why."}, 500
            self._send(status, answer)
        finally:
            self.server.work(-1)

    def _dispatch(self, verb: str) -> dict[str, Any]:
        body = self._body() if verb == "POST" else b""
        match = _PATH.fullmatch(self.path)
        if not match or (verb == "POST") != bool(match["method"]):
            raise invalid(f"Malformed request: {verb} {self.path}")
        spec = model_pb2.ModelSpec(name=match["name"])
        if match["version"]:
            spec.version.value = int(match["version"])
        if match["metadata"]:
            return _metadata(self.server.service, spec)
        if verb == "GET":
            return _status(self.server.service, spec)
        fields = _parse(body)
        name = fields.get("signature_name", "")
        if not isinstance(name, str):
            raise invalid("`signature_name` must be a string.")
        spec.signature_name = name
        call = Call(self.server.service.limits.seconds, self._waits)
        if match["method"] == "predict":
            return _predict(self.server.service, spec, fields, call)
        return _examples(self.server.service, spec, fields, call, match["method"])

    def _body(self) -> bytes:
        limit, text = self.server.service.limits.message_bytes, self.headers["Content-Length"]
        if text is None or not (text.isascii() and text.isdecimal()) or len(text) > 18:
            self.close_connection = True
            raise invalid("A request must say its Content-Length.")
        if int(text) > limit:
            self.close_connection = True  # what follows is not read
            raise Refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"A request may have at most {limit:,} bytes. Received: {int(text):,}.",
            )
        body = self.rfile.read(int(text))
        if len(body) < int(text):
            raise ConnectionError("The client hung up.")
        return body

    def _waits(self) -> bool:
        """Whether the client is still there: a closed connection reads as the end."""
        try:
            # A socket with a timeout waits even where told not to: ask first.
            watched = select.poll()
            watched.register(self.connection, select.POLLIN)
            return not watched.poll(0) or self.connection.recv(1, socket.MSG_PEEK) != b""
        except OSError:
            return False

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.server.stopping or self.close_connection:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Called for what is no HTTP, or a method that is not served: JSON here too."""
        self.close_connection = True
        self._send(code, {"error": message or self.responses[code][0]})

    def log_message(self, format: str, *args: Any) -> None:
        """Called for every request: too many to log."""


def _parse(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise invalid(f"The body is no JSON in UTF-8: {error}") from None
    if not isinstance(fields, dict):
        raise invalid("The body must be a JSON object.")
    return fields


def _predict(
    service: Service, spec: model_pb2.ModelSpec, fields: dict[str, Any], call: Call
) -> dict[str, Any]:
    _, values = service.run(
        spec, lambda signature: json_format.inputs(signature, fields, service.limits), call
    )
    return json_format.outputs(values, "instances" in fields)


def _examples(
    service: Service, spec: model_pb2.ModelSpec, fields: dict[str, Any], call: Call, method: str
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
        classified = service.classify(request, call).result.classifications
        return {
            "result": [[[each.label, each.score] for each in row.classes] for row in classified]
        }
    return {"result": [each.value for each in service.regress(request, call).result.regressions]}


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
