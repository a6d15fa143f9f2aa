"""The embedded server: serves models in TF Serving's protocol without Docker.

    python -m serving.server --models runs/serving_model

It serves the newest pushed version of each model in the folder, watches for new versions, and
stops gracefully on SIGTERM and Ctrl-C; a second signal ends it at once. `GET /` is a page to try
the models. Exit status: 0 after a stop, 2 if it cannot start, 128 and the number of the signal
after a second one.
"""

import argparse
import dataclasses
import gc
import logging
import math
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

# Silences TensorFlow's import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from serving import VERSION, addresses, quiet
from serving.limits import Limits
from serving.registry import names
from serving.versions import Policy, versions

if TYPE_CHECKING:
    from serving.page.data import PageData

_LOG = logging.getLogger("serving")
_LOOPBACK = "127.0.0.1"
_OWN_INTERFACE = (_LOOPBACK, "localhost", "::1")
_DAY_SECONDS = 86_400
_MOST_VERSIONS = 100
_LOOK_SECONDS = 0.1  # Until the first versions are loaded it looks so often for a signal.
# A signal that comes again so soon is the same one: `timeout` and `make` send it to the process and
# to its group.
_REPEAT_SECONDS = 0.5
_REFUSING_SECONDS = 0.5  # At the end it refuses requests for so long before the ports close.


def main(
    argv: list[str] | None = None,
    parser: argparse.ArgumentParser | None = None,
    page_data: Callable[[argparse.Namespace], "PageData"] | None = None,
) -> int:
    """Serves until a signal.

    Args:
      argv: the command line.
      parser: `command_line()`, with further arguments.
      page_data: makes the users and items of the page from the arguments.

    Returns:
      the exit status.
    """
    arguments = (parser or command_line()).parse_args(argv)
    try:
        models = names(arguments.models)
    except OSError as error:
        sys.stderr.write(f"`--models` must be a folder that can be read. {error}\n")
        return 2
    if not models:
        sys.stderr.write(
            f"`--models` must be a folder with a pushed model. Received: {arguments.models}. "
            "Run `make run` first, or set OUTPUT= to its output folder.\n"
        )
        return 2
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    _LOG.setLevel(logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)  # Libraries warn about old Python versions.
    try:
        _check(arguments)
        limits = Limits(
            **{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Limits)}
        )
        policy = Policy(arguments.versions, _labels(arguments.label, arguments.models))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return _serve(arguments, limits, policy, page_data)


def _serve(
    arguments: argparse.Namespace,
    limits: Limits,
    policy: Policy,
    page_data: Callable[[argparse.Namespace], "PageData"] | None,
) -> int:
    stop = _stop_at_a_signal()
    _LOG.info("Loading the newest version of %s.", ", ".join(names(arguments.models)))
    with quiet.imports():
        from serving.grpc_api import GrpcServer
        from serving.page.routes import Page
        from serving.rest.server import RestServer
        from serving.service import Service

        data = page_data(arguments) if page_data and _has_page(arguments) else None
    service = Service(arguments.models, limits, policy)
    page = Page(service, data) if _has_page(arguments) else None
    try:
        grpc_server = GrpcServer(service, addresses.joined(arguments.host, arguments.grpc_port))
        rest = RestServer(
            service, arguments.host, arguments.rest_port, page.add_routes if page else None
        )
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    gc.freeze()  # Imported modules stay, so later collections may skip them.
    # The first versions load in the thread too: Python looks at signals only in this one.
    loaded = threading.Event() if stop.is_set() else service.registry.watch(arguments.poll_seconds)
    while not stop.is_set() and not loaded.wait(_LOOK_SECONDS):
        pass
    if stop.is_set():
        _LOG.info("Stopping. A version that loads has %g seconds.", arguments.grace_seconds)
        rest.stop(0)
        grpc_server.stop(0)
        if page:
            page.close()
        service.registry.close(arguments.grace_seconds)
        _LOG.info("Stopped.")
        return 0
    if not service.registry.available:
        _LOG.error("No version loads yet. Waiting for one in %s.", arguments.models)
    grpc_server.set_health(service.registry.available)
    grpc_server.start()
    rest.start()
    root = f"http://{addresses.joined(arguments.host, rest.port)}/"
    _LOG.info(
        "Ready: gRPC on %s, REST on %s. Ctrl-C stops.",
        addresses.joined(arguments.host, grpc_server.port),
        ", ".join(f"{root}v1/models/{name}" for name in names(arguments.models)),
    )
    if page:
        _LOG.info("Try the model: %s", root)
    while not stop.wait(arguments.poll_seconds):
        grpc_server.set_health(service.registry.available)
    _LOG.info("Stopping. Requests in progress have %g seconds.", arguments.grace_seconds)
    # gRPC cancels requests that arrive while it stops, so the server first refuses them itself.
    grpc_server.set_health(False)
    service.stop_accepting()
    time.sleep(_REFUSING_SECONDS)
    end = time.monotonic() + arguments.grace_seconds
    # Both ports stop together, so neither takes new requests while the other drains.
    draining = threading.Thread(target=rest.stop, args=(arguments.grace_seconds,))
    draining.start()
    grpc_server.stop(arguments.grace_seconds)
    draining.join(max(end - time.monotonic(), 0) + 1)
    if page:
        page.close()
    service.registry.close(max(end - time.monotonic(), 0))
    _LOG.info("Stopped.")
    return 0


def _stop_at_a_signal() -> threading.Event:
    """An event that the first SIGTERM or Ctrl-C sets. The second one ends the process at once."""
    stop = threading.Event()
    first = math.inf

    def handle(number: int, _: object) -> None:
        nonlocal first
        if time.monotonic() > first + _REPEAT_SECONDS:
            os._exit(128 + number)
        first = min(first, time.monotonic())
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return stop


def _has_page(arguments: argparse.Namespace) -> bool:
    """The page shows histories of users, so other machines get it only if it is asked for."""
    if arguments.page is None:
        return arguments.host in _OWN_INTERFACE
    return arguments.page


def _check(arguments: argparse.Namespace) -> None:
    for name in ("grpc_port", "rest_port"):
        if not 0 <= getattr(arguments, name) <= 65535:
            raise ValueError(
                f"`{name}` must be a port, 0 to 65535. Received: {getattr(arguments, name)}."
            )
    if not 1 <= arguments.versions <= _MOST_VERSIONS:
        raise ValueError(
            f"`versions` must be 1 to {_MOST_VERSIONS}. Received: {arguments.versions}."
        )
    for name, least in (("poll_seconds", 1e-3), ("grace_seconds", 0)):
        if not least <= getattr(arguments, name) <= _DAY_SECONDS:
            raise ValueError(
                f"`{name}` must be {least:g} to {_DAY_SECONDS:,}. "
                f"Received: {getattr(arguments, name)}."
            )


def _labels(texts: Sequence[str], root: str) -> dict[str, dict[str, int]]:
    """The versions by model and label, from texts such as `imn:canary=3`."""
    found: dict[str, dict[str, int]] = {}
    for text in texts:
        match = re.fullmatch(r"([^/:=]+):([^/:=]+)=([0-9]{1,18})", text)
        if not match:
            raise ValueError(
                f"`--label` must be MODEL:LABEL=VERSION, such as imn:canary=3. Received: {text}."
            )
        name, label, version = match[1], match[2], int(match[3])
        present = versions(os.path.join(root, name))
        if version not in present:
            raise ValueError(
                f"`--label` must name a version in {root}/{name}: "
                f"{', '.join(map(str, sorted(present))) or 'there is none'}. Received: {text}."
            )
        found.setdefault(name, {})[label] = version
    return found


def command_line(program: str = "python -m serving.server") -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Serves pushed models in TF Serving's protocol, gRPC and REST.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--version", action="version", version=VERSION)
    add("--models", default="runs/serving_model", help="folder with MODEL/VERSION folders")
    add("--host", default=_LOOPBACK, help="interface; 0.0.0.0 for all (without encryption)")
    add("--grpc-port", type=int, default=8500, help="0 takes a free port")
    add("--rest-port", type=int, default=8501, help="0 takes a free port")
    add("--poll-seconds", type=float, default=1.0, help="time between checks for new versions")
    add("--grace-seconds", type=float, default=10.0, help="time for requests in progress at a stop")
    add("--versions", type=int, default=1, help="how many of a model's newest versions to serve")
    add(
        "--label",
        action="append",
        default=[],
        metavar="MODEL:LABEL=VERSION",
        help="serve this version too, under a label; `stable` is the newest unless you set it",
    )
    add(
        "--page",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="the page to try the models, at /; without this flag it is there on the own interface",
    )
    for field in dataclasses.fields(Limits):
        flag = "--" + field.name.replace("_", "-")
        kind = float if isinstance(field.default, float) else int
        add(flag, type=kind, default=field.default, help=_HELP[field.name])
    return parser


_HELP = {
    "message_bytes": "largest request",
    "rows": "most users or Examples in a request",
    "values": "most elements in a tensor of a request",
    "candidates": "most candidates in a request, over all users",
    "seconds": "longest time for a request",
    "running": "requests that compute at the same time",
    "queue": "requests that wait; more get RESOURCE_EXHAUSTED",
}


if __name__ == "__main__":
    sys.exit(main())
