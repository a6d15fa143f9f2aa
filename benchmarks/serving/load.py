"""A process that sends prepared requests to a server, and times every answer.

Closed loop: so many clients, each sending its next request when it has its answer.
Open loop: arrivals of a Poisson process, whatever the server does; a latency is
counted from the arrival, so that waiting for a busy server, or client, is part of it.
"""

import dataclasses
import functools
import multiprocessing
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np

PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclasses.dataclass(frozen=True)
class Load:
    """What is sent.

    Attributes:
      address: of the server.
      requests: serialized PredictRequests, sent in turn.
      seconds: how long.
      clients: of a closed loop; 0 is an open one.
      rate: arrivals a second of an open loop.
      least: requests of a closed loop, also if they take longer.
      timeout: seconds of a request.
      expected: right scores `(R, K)` of the R requests by version; empty checks nothing.
    """

    address: str
    requests: Sequence[bytes]
    seconds: float
    clients: int = 0
    rate: float = 0.0
    least: int = 0
    timeout: float = 60.0
    expected: Mapping[int, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of it, in the order of the answers.

    Attributes:
      sent: how many requests.
      at: seconds from the start to each answer, `(N,)`.
      latency_ms: `(N,)`.
      status: names of gRPC's codes, `(N,)`; "WRONG" for scores that are not the expected ones.
      version: that answered, `(N,)`; 0 where nothing was expected or there was an error.
      seconds: from the start to the last answer.
      late_ms: the most that this process was late with an arrival of an open loop.
    """

    sent: int
    at: np.ndarray
    latency_ms: np.ndarray
    status: np.ndarray
    version: np.ndarray
    seconds: float
    late_ms: float


class ClientProcess:
    """The process; `start` a load, then take its `outcome`."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def run(self, load: Load) -> Outcome:
        """The outcome of a load, once all of it is over."""
        self.start(load)
        return self.outcome()

    def start(self, load: Load) -> None:
        """Returns at once."""
        self._pipe.send(load)

    def outcome(self) -> Outcome:
        """Waits for the load that was started."""
        return self._pipe.recv()

    def __enter__(self) -> "ClientProcess":
        return self

    def __exit__(self, *_: Any) -> None:
        self._pipe.send(None)
        self._process.join(10)


def _work(pipe: Any) -> None:
    # What takes seconds to import must not be first imported under load.
    import tensorflow_serving.apis.predict_pb2  # noqa: F401

    while (load := pipe.recv()) is not None:
        pipe.send(send(load))


def send(load: Load) -> Outcome:
    """Sends a load from this process."""
    with grpc.insecure_channel(load.address) as channel:
        grpc.channel_ready_future(channel).result(30)
        sender = _Sender(load, channel.unary_unary(PREDICT))
        sent = sender.closed() if load.clients else sender.open()
    rows = sender.rows
    return Outcome(
        sent,
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows]) * 1000,
        np.array([row[2] for row in rows]),
        np.array([row[3] for row in rows], np.int64),
        max((row[0] for row in rows), default=0.0),
        1000 * sender.late,
    )


class _Sender:
    def __init__(self, load: Load, call: grpc.UnaryUnaryMultiCallable):
        self.load, self.call = load, call
        self.rows: list[tuple[float, float, str, int]] = []
        self.begin = time.perf_counter()
        self.late = 0.0

    def closed(self) -> int:
        load = self.load
        sent = [0] * load.clients

        def work(client: int) -> None:
            while time.perf_counter() - self.begin < load.seconds or sum(sent) < load.least:
                number = client + sent[client] * load.clients
                sent[client] += 1
                start = time.perf_counter()
                ask = functools.partial(self.call, self._request(number), load.timeout)
                self._note(number, start, ask)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(load.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(sent)

    def open(self) -> int:
        load, rng = self.load, np.random.default_rng(0)
        arrivals = np.cumsum(rng.exponential(1 / load.rate, int(2 * load.rate * load.seconds) + 10))
        arrivals = arrivals[arrivals < load.seconds]
        for number, arrival in enumerate(arrivals):
            due = self.begin + arrival
            time.sleep(max(due - time.perf_counter(), 0))
            self.late = max(self.late, time.perf_counter() - due)
            future = self.call.future(self._request(number), load.timeout)
            future.add_done_callback(
                lambda future, number=number, due=due: self._note(number, due, future.result)
            )
        # What is not there by then is lost.
        end = time.perf_counter() + load.timeout + 5
        while len(self.rows) < len(arrivals) and time.perf_counter() < end:
            time.sleep(0.05)
        return len(arrivals)

    def _request(self, number: int) -> bytes:
        return self.load.requests[number % len(self.load.requests)]

    def _note(self, number: int, start: float, ask: Callable[[], bytes]) -> None:
        version = 0
        try:
            answer = ask()
            end, status = time.perf_counter(), "OK"
            if self.load.expected:
                version, right = self._check(number, answer)
                status = "OK" if right else "WRONG"
        except grpc.RpcError as error:
            end, status = time.perf_counter(), error.code().name
        self.rows.append((end - self.begin, end - start, status, version))

    def _check(self, number: int, answer: bytes) -> tuple[int, bool]:
        from tensorflow_serving.apis import predict_pb2

        response = predict_pb2.PredictResponse.FromString(answer)
        version = response.model_spec.version.value
        proto = response.outputs["scores"]
        scores = np.frombuffer(proto.tensor_content, np.float32) if proto.tensor_content else None
        if scores is None:
            scores = np.array(proto.float_val, np.float32)
        known = self.load.expected.get(version)
        if known is None:
            return version, False
        right = known[number % len(self.load.requests)]
        return version, scores.shape == right.shape and bool(np.allclose(scores, right, atol=1e-5))
