"""A client process that sends prepared requests to a server and times each answer.

Closed loop: each of several clients sends its next request after its last answer.
Open loop: requests arrive as a Poisson process, independent of the server. Latency
counts from the arrival, so it includes waiting for a busy server or client.
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
    """A load to send.

    Attributes:
      address: `HOST:PORT` of the server.
      requests: R serialized PredictRequests, sent in turn.
      seconds: length of the load.
      clients: clients of the closed loop; 0 selects an open loop.
      rate: arrivals per second of the open loop.
      least: minimum number of requests of the closed loop.
      timeout: seconds for each request.
      expected: correct scores `(R, K)` by version; empty skips the check.
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
    """Answers to a load, in the order of their arrival.

    Attributes:
      sent: number of requests.
      at: seconds from the start to each answer, `(N,)`.
      latency_ms: latency of each answer, `(N,)`.
      status: gRPC status name of each answer, `(N,)`; "WRONG" if the scores differ.
      version: model version of each answer, `(N,)`; 0 after an error or without a check.
      seconds: from the start to the last answer.
      late_ms: largest delay of this process in sending a request of the open loop.
    """

    sent: int
    at: np.ndarray
    latency_ms: np.ndarray
    status: np.ndarray
    version: np.ndarray
    seconds: float
    late_ms: float


class ClientProcess:
    """A client process: `start` a load, then get its `outcome`."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def run(self, load: Load) -> Outcome:
        """Sends a load and waits for its outcome."""
        self.start(load)
        return self.outcome()

    def start(self, load: Load) -> None:
        """Starts a load and returns at once."""
        self._pipe.send(load)

    def outcome(self) -> Outcome:
        """Waits for the end of the load."""
        return self._pipe.recv()

    def __enter__(self) -> "ClientProcess":
        return self

    def __exit__(self, *_: Any) -> None:
        self._pipe.send(None)
        self._process.join(10)


def _work(pipe: Any) -> None:
    # This import takes seconds, so it must not happen under load.
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
                get_answer = functools.partial(self.call, self._request(number), load.timeout)
                self._record(number, start, get_answer)

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
                lambda future, number=number, due=due: self._record(number, due, future.result)
            )
        # Answers that are not here by then count as lost.
        end = time.perf_counter() + load.timeout + 5
        while len(self.rows) < len(arrivals) and time.perf_counter() < end:
            time.sleep(0.05)
        return len(arrivals)

    def _request(self, number: int) -> bytes:
        return self.load.requests[number % len(self.load.requests)]

    def _record(self, number: int, start: float, get_answer: Callable[[], bytes]) -> None:
        version = 0
        try:
            answer = get_answer()
            end, status = time.perf_counter(), "OK"
            if self.load.expected:
                version, correct = self._check(number, answer)
                status = "OK" if correct else "WRONG"
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
        expected = self.load.expected.get(version)
        if expected is None:
            return version, False
        wanted = expected[number % len(self.load.requests)]
        return version, scores.shape == wanted.shape and bool(
            np.allclose(scores, wanted, atol=1e-5)
        )
