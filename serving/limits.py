"""How much a request may ask for, and how many may be under way."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator

import grpc

from serving.refusal import Refusal


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the embedded server lets in; the defaults suit a machine of a few cores.

    Raises:
      ValueError: for a value below 1, naming it (`queue` may be 0).
    """

    message_bytes: int = 16 << 20  # of a request
    rows: int = 1_000  # users, or Examples, of a request
    values: int = 500_000  # elements of any tensor of a request
    candidates: int = 5_000  # scores that a request of `rank` asks for
    seconds: float = 10.0  # from arrival to answer; a client's own deadline may be sooner
    running: int = 2  # requests that compute at the same time
    queue: int = 64  # requests that wait for that; more are refused

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "queue" else 1e-3
            if value < least:
                raise ValueError(f"`{field.name}` must be positive. Received: {value}.")


@dataclasses.dataclass(frozen=True)
class Call:
    """A request as seen from the model: seconds it has, and whether its client still waits."""

    seconds: float
    waits: Callable[[], bool] = lambda: True


class Gate:
    """A bounded queue before a bounded number of requests that compute.

    Args:
      running: how many compute.
      queue: how many wait.
    """

    def __init__(self, running: int, queue: int):
        self._queue = queue
        self._places = threading.Semaphore(running + queue)
        self._slots = threading.Semaphore(running)

    @contextlib.contextmanager
    def slot(self, call: Call) -> Iterator[None]:
        """Waits for its turn.

        Raises:
          Refusal: RESOURCE_EXHAUSTED at once where the queue is full, DEADLINE_EXCEEDED
            where the turn does not come in time, CANCELLED where nobody waits any more.
        """
        if not self._places.acquire(blocking=False):
            raise Refusal(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"The queue is full: {self._queue} requests wait. Try again later.",
            )
        try:
            if not self._slots.acquire(timeout=max(call.seconds, 0)):
                raise Refusal(
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    f"No turn within {call.seconds:.3g} seconds; the server is busy.",
                )
            try:
                if not call.waits():
                    raise Refusal(grpc.StatusCode.CANCELLED, "The client has gone.")
                yield
            finally:
                self._slots.release()
        finally:
            self._places.release()
