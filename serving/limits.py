"""Limits on a request, and the queue of requests."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator

import grpc

from serving.errors import RequestError


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of the embedded server. The defaults suit a machine with a few cores.

    Raises:
      ValueError: if a value is not positive (`queue` may be 0) or not below 2^31.
    """

    message_bytes: int = 4 << 20  # size of a request
    rows: int = 1_000  # users or Examples in a request
    values: int = 500_000  # elements of a tensor in a request
    candidates: int = 2_000  # candidates in a `rank` request, over all users
    seconds: float = 10.0  # from arrival to answer; a client may set a shorter deadline
    running: int = 2  # requests that compute at the same time
    # Requests that wait; the server refuses more. Long enough to wait for the load of a version,
    # which takes one core for seconds.
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
    """The time that a request has, and whether its client still waits.

    Args:
      seconds: from now to the answer.
      waits: returns whether the client still waits.
    """

    def __init__(self, seconds: float, waits: Callable[[], bool] = lambda: True):
        self._end = time.monotonic() + seconds
        self.waits = waits

    def left(self) -> float:
        """Seconds that are left; negative after the deadline."""
        return self._end - time.monotonic()


class AdmissionQueue:
    """Lets a fixed number of requests compute, and a fixed number wait for that.

    Args:
      running: requests that compute at the same time.
      queue: requests that wait.

    Attributes:
      waiting: how many requests wait now.
      running: how many compute now.
    """

    def __init__(self, running: int, queue: int):
        self.waiting = self.running = 0  # requests now
        self._counts = threading.Lock()
        self._queue = queue
        self._places = threading.Semaphore(running + queue)
        self._slots = threading.Semaphore(running)

    @contextlib.contextmanager
    def slot(self, deadline: Deadline) -> Iterator[None]:
        """Waits until the request may compute.

        Raises:
          RequestError: RESOURCE_EXHAUSTED, at once, if the queue is full; DEADLINE_EXCEEDED if
            the wait takes too long; CANCELLED if the client no longer waits.
        """
        if not self._places.acquire(blocking=False):
            raise RequestError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"The queue is full: {self._queue} requests wait. Try again later.",
            )
        try:
            with self._counted("waiting"):
                free = self._slots.acquire(timeout=max(deadline.left(), 0))
            if not free:
                raise RequestError(
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    "The server is busy: the request waited until its deadline.",
                )
            try:
                if not deadline.waits():
                    raise RequestError(grpc.StatusCode.CANCELLED, "The client disconnected.")
                with self._counted("running"):
                    yield
            finally:
                self._slots.release()
        finally:
            self._places.release()

    @contextlib.contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        with self._counts:
            setattr(self, name, getattr(self, name) + 1)
        try:
            yield
        finally:
            with self._counts:
                setattr(self, name, getattr(self, name) - 1)
