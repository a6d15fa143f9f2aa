"""The routes of the page: its files at /, and read-only JSON under /imn/."""

import asyncio
import json
import logging
import pathlib
from collections.abc import Callable
from concurrent import futures
from typing import Any

from aiohttp import web

from serving.errors import RequestError, invalid, not_found
from serving.page.data import PageData
from serving.service import Service

_LOG = logging.getLogger("serving")
_FILES = pathlib.Path(__file__).with_name("static")
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_THREADS = 4  # The first answer may have to read all ratings; others wait for it.
_MOST_ROWS, _MOST_ITEMS, _MOST_CANDIDATES = 100, 300, 1_000
# Titles come from files of others: nothing that they hold may run, and no other host is asked.
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}


class Page:
    """Adds the page to a REST server.

    Args:
      service: whose models the page shows.
      data: the users and items; None if they are not known, so that people type ids.
    """

    def __init__(self, service: Service, data: PageData | None = None):
        self._service, self._data = service, data
        self._pool = futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="page")

    def add_routes(self, app: web.Application) -> None:
        """Adds `/`, the files below `/page/`, and the answers below `/imn/`."""
        app.router.add_get("/", self._file)
        app.router.add_get("/page/{name}", self._file)
        app.router.add_get("/imn/{name}", self._answer)

    def close(self) -> None:
        """Ends the threads."""
        if self._data:
            self._data.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _file(self, request: web.Request) -> web.Response:
        path = _FILES / request.match_info.get("name", "index.html")
        if path.suffix not in _TYPES or not path.is_file() or path.parent != _FILES:
            return _json({"error": f"There is no {request.path}."}, 404)
        return web.Response(
            body=path.read_bytes(),
            headers=_HEADERS,
            content_type=_TYPES[path.suffix],
            charset="utf-8",
        )

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            answer = self._question(request)
            values = await asyncio.get_running_loop().run_in_executor(self._pool, answer)
            return _json(values, 200)
        except RequestError as refusal:
            status = 404 if refusal.code.name == "NOT_FOUND" else 400
            return _json({"error": refusal.message}, status)
        except Exception:
            _LOG.exception("A request to %s failed.", request.path)
            return _json({"error": "Internal error. See the log of the server."}, 500)

    def _question(self, request: web.Request) -> Callable[[], Any]:
        name, asked = request.match_info["name"], request.query
        if name == "models":
            return self._models
        data, model = self._data, asked.get("model", "")
        if name not in ("users", "user", "items", "frequent"):
            raise not_found(f"There is no {request.path}.")
        if data is None:
            raise not_found("This server knows no users and items. `make serve` starts one.")
        if not asked.get("version", "").isdecimal():
            raise invalid("`version` must be a number.")
        version, query = int(asked["version"]), asked.get("query", "")
        self._check(model, version)
        if name == "users":
            if "any" in asked:
                return lambda: [data.any_user(model, version)]
            return lambda: data.users(model, version, query, _MOST_ROWS)
        if name == "user":
            return lambda: data.history(model, version, asked.get("id", ""))
        if name == "frequent":
            return lambda: data.frequent(model, version, _MOST_CANDIDATES)
        items = asked.getall("id", [])
        if len(items) > _MOST_ITEMS:
            raise invalid(f"At most {_MOST_ITEMS} items a request. Received: {len(items)}.")
        if items:
            return lambda: data.describe(model, version, items)
        return lambda: data.search(model, version, query, _MOST_ROWS)

    def _check(self, model: str, version: int) -> None:
        """The version must be a served one, or its folder could be anything."""
        if version not in (served := self._service.registry.model(model).served):
            raise not_found(
                f"Version {version} of model `{model}` is not served. "
                f"Served: {', '.join(map(str, served)) or 'none'}."
            )

    def _models(self) -> dict[str, Any]:
        """The served models with their versions, newest first, and what a request may hold."""
        models = self._service.registry.models.items()
        return {
            "models": [
                {
                    "name": name,
                    "versions": [str(version) for version in model.served],  # beyond JavaScript's
                    "labels": {label: str(version) for label, version in model.labels.items()},
                }
                for name, model in sorted(models)
                if model.available
            ],
            "candidates": min(_MOST_CANDIDATES, self._service.limits.candidates),
        }


def _json(values: Any, status: int) -> web.Response:
    return web.Response(
        body=json.dumps(values).encode(),
        status=status,
        headers=_HEADERS,
        content_type="application/json",
    )
