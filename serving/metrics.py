"""Metrics for Prometheus: TF Serving's own names, and those of the queue and the versions.

TF Serving turns the name of a metric, such as /tensorflow/serving/request_count, into
:tensorflow:serving:request_count, and counts latencies in microseconds. A dashboard for TF Serving
works with both servers.
"""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator

import prometheus_client
from prometheus_client import core, registry

from serving.errors import RequestError

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
_REQUESTS = ":tensorflow:serving:request_count"
_LOADS = ":tensorflow:cc:saved_model:load_attempt_count"
_RECORDS = ":tensorflow:serving:model_warmup_records_read"
_COUNTERS = (_REQUESTS, _LOADS, _RECORDS)
# TF Serving's buckets, in six digits: 10 microseconds to about 25 minutes; 1 to 2^14 Examples.
_MICROSECONDS = [float(f"{10 * 1.8**power:.6g}") for power in range(33)]
_EXAMPLES = [2.0**power for power in range(15)]
_QUEUE_SECONDS = [0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]


@dataclasses.dataclass
class Count:
    """The method of a request, and its model once that is known."""

    api: str
    model: str = ""


class Metrics:
    """The metrics of one server, in a registry of its own.

    Args:
      states: returns model, version and state of all known versions.
      waiting: returns how many requests wait in the queue.
      running: returns how many requests compute.
    """

    def __init__(
        self,
        states: Callable[[], Iterable[tuple[str, int, str]]],
        waiting: Callable[[], int],
        running: Callable[[], int],
    ):
        self._states = states
        prometheus_client.disable_created_metrics()  # TF Serving has no times of creation.
        self._registry = own = prometheus_client.CollectorRegistry()

        def counter(name: str, meaning: str, *labels: str) -> prometheus_client.Counter:
            return prometheus_client.Counter(name, meaning, labels, registry=own)

        def latency(name: str, meaning: str, *labels: str) -> prometheus_client.Histogram:
            return prometheus_client.Histogram(
                name, meaning, labels, registry=own, buckets=_MICROSECONDS
            )

        self._requests = counter(_REQUESTS, "Requests.", "model_name", "status")
        self._latency = latency(
            ":tensorflow:serving:request_latency",
            "Microseconds from arrival to answer, of answered requests.",
            *("model_name", "API", "entrypoint"),
        )
        self._runtime = latency(
            ":tensorflow:serving:runtime_latency",
            "Microseconds in the session of TensorFlow.",
            *("model_name", "API", "runtime"),
        )
        self._examples = prometheus_client.Histogram(
            ":tensorflow:serving:request_example_counts",
            "Examples in a Classify or Regress request.",
            ["model"],
            registry=own,
            buckets=_EXAMPLES,
        )
        self._examples_total = counter(
            ":tensorflow:serving:request_example_count", "Examples of all requests.", "model"
        )
        self._loads = counter(_LOADS, "Loads of a version.", "model_path", "status")
        self._warm_up = latency(
            ":tensorflow:serving:model_warmup_latency",
            "Microseconds of the warm-up of a version.",
            *("model_path", "status"),
        )
        self._records = counter(_RECORDS, "Warm-up requests that ran.", "model_path", "status")
        self._queued = prometheus_client.Histogram(
            "imn_serving_queue_seconds",
            "Seconds that a request waited until it could compute.",
            registry=own,
            buckets=_QUEUE_SECONDS,
        )
        for name, meaning, value in (
            ("imn_serving_queue_requests", "Requests that wait.", waiting),
            ("imn_serving_running_requests", "Requests that compute.", running),
        ):
            prometheus_client.Gauge(name, meaning, registry=own).set_function(value)
        own.register(_Versions(states))
        prometheus_client.ProcessCollector(registry=own)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        text = prometheus_client.generate_latest(self._registry)
        for name in _COUNTERS:  # The client adds a suffix that TF Serving's names lack.
            text = text.replace(f"{name}_total".encode(), name.encode())
        return text

    @contextlib.contextmanager
    def counted(self, api: str, entrypoint: str) -> Iterator["Count"]:
        """Counts the request inside, by the status that it raises.

        Like TF Serving, it keeps the latency of answered requests alone.

        Args:
          api: the method, such as `Predict`; TF Serving has `predict` for REST.
          entrypoint: GRPC or REST.

        Yields:
          what else is known of the request.
        """
        start, count, status = time.perf_counter(), Count(api), "OK"
        try:
            yield count
        except RequestError as refusal:
            status = refusal.code.name
            raise
        except (asyncio.CancelledError, ConnectionError):
            status = "CANCELLED"
            raise
        except Exception:
            status = "INTERNAL"
            raise
        finally:
            # A name that is no model adds no series, or clients could fill the memory.
            model = count.model if any(name == count.model for name, *_ in self._states()) else ""
            self._requests.labels(model, status).inc()
            if status == "OK":
                microseconds = (time.perf_counter() - start) * 1e6
                self._latency.labels(model, count.api, entrypoint).observe(microseconds)

    @contextlib.contextmanager
    def runtime(self, model: str, api: str) -> Iterator[None]:
        """Measures a run of the session, if it succeeds."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self._runtime.labels(model, api, "TF1").observe(seconds * 1e6)

    def examples(self, model: str, count: int) -> None:
        """Counts the Examples of a request."""
        self._examples.labels(model).observe(count)
        self._examples_total.labels(model).inc(count)

    def queued(self, seconds: float) -> None:
        """Notes how long a request waited in the queue."""
        self._queued.observe(seconds)

    def loaded(self, path: str, success: bool) -> None:
        """Counts an attempt to load a version."""
        self._loads.labels(path, "success" if success else "fail").inc()

    def warmed_up(self, path: str, records: int, seconds: float) -> None:
        """Notes a warm-up that succeeded."""
        self._warm_up.labels(path, "OK").observe(seconds * 1e6)
        self._records.labels(path, "OK").inc(records)


class _Versions(registry.Collector):
    """The state of each version, as it is when Prometheus asks."""

    def __init__(self, states: Callable[[], Iterable[tuple[str, int, str]]]):
        self._states = states

    def collect(self) -> Iterator[core.GaugeMetricFamily]:
        """One series a version; its value is 1."""
        family = core.GaugeMetricFamily(
            "imn_serving_model_version",
            "Known versions: AVAILABLE, LOADING, or END for a refused one.",
            labels=["model_name", "version", "state"],
        )
        for model, version, state in self._states():
            family.add_metric([model, str(version), state], 1)
        yield family
