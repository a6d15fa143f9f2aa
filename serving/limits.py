"""How much a request may ask for, and how many may be under way."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator

import grpc

from serving.errors import RequestError


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the embedded server lets in; the defaults suit a machine of a few cores.

    Raises:
      ValueError: for a value that is not positive (`queue` may be 0), or not below
        2^31, naming it.
    """

    message_bytes: int = 4 << 20  # of a request
    rows: int = 1_000  # users, or Examples, of a request
    values: int = 500_000  # elements of any tensor of a request
    candidates: int = 2_000  # scores that a request of `rank` asks for: K of all users
    seconds: float = 10.0  # from arrival to answer; a client's own deadline may be sooner
    running: int = 2  # requests that compute at the same time
    # Requests that wait for that; more are refused. Loading a version takes a core for seconds.
    queue: int = 256

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            enough = value >= 0 if field.name == "queue" else value > 0
            if not (enough and value < 1 << 31):
                raise ValueError(
                    f"`{field.name}` must be positive and below 2^31. Received: {value}."
                )


class Deadline:
    """A request as it arrives: the time it has, and whether its client still waits.

    Args:
      seconds: from now to the answer.
      waits: whether anyone waits for the answer.
    """

    def __init__(self, seconds: float, waits: Callable[[], bool] = lambda: True):
        self._end = time.monotonic() + seconds
        self.waits = waits

    def left(self) -> float:
        """Seconds to its end; below 0 after it."""
        return self._end - time.monotonic()


class AdmissionQueue:
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
    def slot(self, deadline: Deadline) -> Iterator[None]:
        """Waits for its turn.

        Raises:
          RequestError: RESOURCE_EXHAUSTED at once where the queue is full, DEADLINE_EXCEEDED
            where the turn does not come in time, CANCELLED where nobody waits any more.
        """
        if not self._places.acquire(blocking=False):
            raise RequestError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"The queue is full: {self._queue} requests wait. Try again later.",
            )
        try:
            if not self._slots.acquire(timeout=max(deadline.left(), 0)):
                raise RequestError(
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    "No turn within the time of the request; the server is busy.",
                )
            try:
                if not deadline.waits():
                    raise RequestError(grpc.StatusCode.CANCELLED, "The client has gone.")
                yield
            finally:
                self._slots.release()
        finally:
            self._places.release()
