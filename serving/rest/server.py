"""The REST port: TF Serving's paths on aiohttp, answered by a `Service`."""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from aiohttp import web

from serving import addresses, metrics
from serving.errors import RequestError, invalid
from serving.limits import Deadline
from serving.rest import paths
from serving.service import Service

_LOG = logging.getLogger("serving")
METRICS_PATH = "/monitoring/prometheus/metrics"  # TF Serving's
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
_TOO_LARGE = 413  # of a body; a full queue is RESOURCE_EXHAUSTED too, with TF Serving's status
_SPARE_THREADS = 8  # They stay free to refuse requests or report a status.


class RestServer:
    """The REST port. An event loop in one thread reads requests; a thread pool answers them.

    Args:
      service: answers the requests.
      host: the interface.
      port: the port. 0 takes any free port.
      add_page: adds the routes of the page, if it is served.

    Raises:
      OSError: if the server cannot listen on the address.
    """

    def __init__(
        self,
        service: Service,
        host: str,
        port: int,
        add_page: Callable[[web.Application], None] | None = None,
    ):
        self._service, limits = service, service.limits
        self._add_page = add_page
        self._threads = limits.running + limits.queue + _SPARE_THREADS
        self._pool = futures.ThreadPoolExecutor(self._threads, thread_name_prefix="rest")
        self._under_way = 0  # Only the loop's thread changes it.
        try:
            ipv6 = addresses.is_ipv6(host)
            self._socket = socket.create_server(
                (host, port),
                family=socket.AF_INET6 if ipv6 else socket.AF_INET,
                backlog=128,
                # `::` is all interfaces of IPv4 too, as it is for gRPC.
                dualstack_ipv6=ipv6 and socket.has_dualstack_ipv6(),
            )
        except OSError as error:
            raise OSError(
                f"Cannot listen on {addresses.joined(host, port)} for REST: {error.strerror}. "
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
            app.router.add_get(METRICS_PATH, self._metrics)
            app.router.add_get("/healthz", self._health)
            if self._add_page:
                self._add_page(app)
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

    async def _health(self, request: web.Request) -> web.Response:
        """200 if a load balancer may send requests, in the words of gRPC's health service."""
        if self._service.ready:
            return _json({"status": "SERVING"}, 200)
        return _json({"status": "NOT_SERVING"}, 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        text = await self._loop.run_in_executor(None, self._service.metrics.text)
        return web.Response(body=text, headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            with self._service.metrics.counted("", "REST") as count:
                answer, status = await self._counted(request, count), 200
        except RequestError as refusal:
            answer, status = {"error": refusal.message}, _STATUS.get(refusal.code, 500)
            if isinstance(refusal.__cause__, web.HTTPRequestEntityTooLarge):
                status = _TOO_LARGE
        except ConnectionError:
            raise  # The client disconnected.
        except Exception:
            _LOG.exception("A request to %s failed.", request.path)
            answer, status = {"error": "Internal error. See the log of the server."}, 500
        return _json(answer, status)

    async def _counted(self, request: web.Request, count: metrics.Count) -> dict[str, Any]:
        # Checked before the body is read, so bodies cannot pile up.
        if self._under_way >= self._threads:
            raise RequestError(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "The queue is full. Try again later."
            )
        self._under_way += 1
        try:
            to = paths.route(request.method, request.path)
            count.model, count.api = to.spec.name, to.method
            return await self._answer(request, to)
        finally:
            self._under_way -= 1

    async def _answer(self, request: web.Request, to: paths.Route) -> dict[str, Any]:
        seconds = self._service.limits.seconds
        deadline = Deadline(seconds, lambda: request.transport is not None)
        try:
            body = await asyncio.wait_for(request.read(), deadline.left())
        except asyncio.TimeoutError:
            raise RequestError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"The request was not complete within {seconds:g} seconds.",
            ) from None
        except web.HTTPRequestEntityTooLarge as error:
            most = self._service.limits.message_bytes
            raise RequestError(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"A request may have at most {most:,} bytes."
            ) from error
        except web.RequestPayloadError:
            if request.transport is None:
                raise ConnectionResetError("The client disconnected.") from None
            raise invalid(
                "The body must be encoded as its headers say. Received: bytes that cannot be "
                "decoded."
            ) from None
        return await self._loop.run_in_executor(
            self._pool, paths.answer, self._service, to, body, deadline
        )


def _json(answer: dict[str, Any], status: int) -> web.Response:
    return web.Response(
        body=json.dumps(answer).encode(), status=status, content_type="application/json"
    )
