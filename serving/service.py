"""Answers requests of TF Serving's protocol. The gRPC and the REST port share this code."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving import tensors
from serving.errors import RequestError, invalid, not_found
from serving.limits import AdmissionQueue, Deadline, Limits
from serving.low_priority import at_low_priority
from serving.metrics import Metrics
from serving.model import Model, Signature
from serving.registry import ModelRegistry
from serving.versions import Policy

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
_DEFAULT = "serving_default"
# Warm-up requests come with the model, so they may be large. The first run of a graph also
# optimizes it, so they get more time.
_WARM_UP = Limits(rows=1 << 30, values=1 << 30, candidates=1 << 30, seconds=60.0)
Inputs = Callable[[Signature], Mapping[str, np.ndarray]]


class Service:
    """Answers Predict, Classify, Regress, GetModelMetadata and GetModelStatus.

    Call the first three, and `run`, inside a `turn`.

    Args:
      root: folder with a subfolder for each model.
      limits: largest requests, and how many run or wait at the same time.
      policy: which versions are served.
    """

    def __init__(self, root: str, limits: Limits, policy: Policy | None = None):
        self.limits = limits
        self.registry = ModelRegistry(root, self._load, policy)
        self.admission = queue = AdmissionQueue(limits.running, limits.queue)
        self.metrics = Metrics(self._states, lambda: queue.waiting, lambda: queue.running)
        self._stopping = False

    @property
    def ready(self) -> bool:
        """Whether the server takes requests and at least one model serves a version."""
        return self.registry.available and not self._stopping

    def stop_accepting(self) -> None:
        """Answers new requests with UNAVAILABLE. Requests in progress are finished."""
        self._stopping = True

    @contextlib.contextmanager
    def turn(self, deadline: Deadline) -> Iterator[None]:
        """Waits in the queue. Parse and answer a request that computes inside this context.

        Raises:
          RequestError: the errors of `AdmissionQueue.slot`; UNAVAILABLE if the server stops.
        """
        if self._stopping:
            raise RequestError(grpc.StatusCode.UNAVAILABLE, "The server is stopping.")
        arrived = time.perf_counter()
        with self.admission.slot(deadline):
            self.metrics.queued(time.perf_counter() - arrived)
            yield

    def predict(
        self, request: predict_pb2.PredictRequest, deadline: Deadline
    ) -> predict_pb2.PredictResponse:
        """PredictionService.Predict."""
        response = predict_pb2.PredictResponse()
        for name, value in self._compute(request, response.model_spec, deadline).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def classify(
        self, request: classification_pb2.ClassificationRequest, deadline: Deadline
    ) -> classification_pb2.ClassificationResponse:
        """PredictionService.Classify."""
        response = classification_pb2.ClassificationResponse()
        outputs = self._compute(request, response.model_spec, deadline)
        for labels, scores in zip(outputs["classes"], outputs["scores"], strict=True):
            row = response.result.classifications.add()
            for label, score in zip(labels, scores, strict=True):
                row.classes.add(label=label.decode(), score=score)
        return response

    def regress(
        self, request: regression_pb2.RegressionRequest, deadline: Deadline
    ) -> regression_pb2.RegressionResponse:
        """PredictionService.Regress."""
        response = regression_pb2.RegressionResponse()
        for value in self._compute(request, response.model_spec, deadline)["outputs"]:
            response.result.regressions.add(value=value)
        return response

    def run(
        self, spec: model_pb2.ModelSpec, inputs: Inputs, deadline: Deadline
    ) -> tuple[Signature, dict[str, np.ndarray]]:
        """Runs Predict for REST, which parses its inputs after the signature is known."""
        with self._use(spec) as (_, model):
            signature = _signature(model, spec.signature_name)
            values = inputs(signature)
            with self.metrics.runtime(spec.name, "Predict"):
                return signature, model.run(signature, values, deadline.left())

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """PredictionService.GetModelMetadata. The only field is `signature_def`."""
        unknown = set(request.metadata_field) - {"signature_def"}
        if unknown or not request.metadata_field:
            raise invalid(
                "`metadata_field` must be `signature_def`. Received: "
                f"{', '.join(sorted(request.metadata_field)) or 'none'}."
            )
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        signatures = get_model_metadata_pb2.SignatureDefMap()
        with self._use(request.model_spec) as (version, model):
            for name, definition in model.definition.items():
                signatures.signature_def[name].CopyFrom(definition)
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        response.metadata["signature_def"].Pack(signatures)
        return response

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """ModelService.GetModelStatus."""
        response = get_model_status_pb2.GetModelStatusResponse()
        name, spec = request.model_spec.name, request.model_spec
        # A label is not looked at, as in TF Serving: its status is that of all versions.
        wanted = spec.version.value if spec.HasField("version") else None
        for state in self.registry.model(name).states():
            if wanted in (None, state.version):
                row = response.model_version_status.add(version=state.version)
                row.state = get_model_status_pb2.ModelVersionStatus.State.Value(state.state)
                if state.error:
                    row.status.error_code = tf.errors.UNKNOWN
                    row.status.error_message = state.error
        if wanted is not None and not response.model_version_status:
            raise not_found(f"Could not find version {wanted} of model {name}")
        return response

    def _compute(
        self, request: Any, spec: model_pb2.ModelSpec, deadline: Deadline
    ) -> dict[str, np.ndarray]:
        """The outputs for a Predict, Classify or Regress request; fills `spec` of the response."""
        name = request.model_spec.name
        with self._use(request.model_spec) as (version, model):
            run = _prepared(model, request, self.limits)
            with self.metrics.runtime(name, run.api):
                outputs = model.run(run.signature, run.inputs, deadline.left())
        if run.api != "Predict":
            self.metrics.examples(name, len(run.inputs["inputs"]))
        spec.name, spec.version.value = request.model_spec.name, version
        spec.signature_name = request.model_spec.signature_name
        return {each: value for each, value in outputs.items() if each in run.wanted}

    def _load(self, folder: str) -> Model:
        """Loads a version. It must answer the warm-up requests of its export.

        While another version answers requests, the warm-up, most of it TensorFlow's optimization
        of each signature, leaves the cores to them.
        """
        try:
            model = Model(folder)
        except BaseException:
            self.metrics.loaded(folder, success=False)
            raise
        self.metrics.loaded(folder, success=True)
        start = time.perf_counter()

        def warm_up() -> int:
            return model.warm_up(lambda request: _warm_up(model, request))

        try:
            records = at_low_priority(warm_up) if self.registry.available else warm_up()
        except BaseException:
            model.close()
            raise
        self.metrics.warmed_up(folder, records, time.perf_counter() - start)
        return model

    def _use(
        self, spec: model_pb2.ModelSpec
    ) -> contextlib.AbstractContextManager[tuple[int, Model]]:
        model = self.registry.model(spec.name)
        if spec.version_label:
            return model.use(model.labelled(spec.version_label))
        return model.use(spec.version.value if spec.HasField("version") else None)

    def _states(self) -> Iterator[tuple[str, int, str]]:
        for name, model in self.registry.models.items():
            for state in model.states():
                yield name, state.version, state.state


class _Run(NamedTuple):
    """A request that is ready for the session: `wanted` names the outputs of the answer."""

    api: str
    signature: Signature
    inputs: Mapping[str, np.ndarray]
    wanted: set[str]


def _warm_up(model: Model, request: Any) -> None:
    run = _prepared(model, request, _WARM_UP)
    outputs = model.run(run.signature, run.inputs, _WARM_UP.seconds)
    for name, value in outputs.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"A warm-up request gave `{name}` that is not finite.")


def _prepared(model: Model, request: Any, limits: Limits) -> _Run:
    """The run that a Predict, Classify or Regress request asks for."""
    name = request.model_spec.signature_name
    if not isinstance(request, predict_pb2.PredictRequest):
        classify = isinstance(request, classification_pb2.ClassificationRequest)
        signature = _signature(model, name, CLASSIFY if classify else REGRESS)
        inputs = {"inputs": _serialized(request.input, limits)}
        return _Run(
            "Classify" if classify else "Regress", signature, inputs, set(signature.outputs)
        )
    signature = _signature(model, name)
    wanted = set(request.output_filter) or set(signature.outputs)
    if unknown := wanted - set(signature.outputs):
        raise invalid(
            f"`output_filter` must name outputs of `{signature.name}`: "
            f"{', '.join(sorted(signature.outputs))}. Received: {', '.join(sorted(unknown))}."
        )
    inputs = tensors.from_protos(signature, request.inputs, limits)
    return _Run("Predict", signature, inputs, wanted)


def _signature(model: Model, name: str, method: str = "") -> Signature:
    name = name or _DEFAULT
    if name not in model.signatures:
        names = ", ".join(f"`{each}`" for each in sorted(model.signatures))
        raise invalid(f"`signature_name` must be one of {names}. Received: `{name}`.")
    signature = model.signatures[name]
    if method and signature.method != method:
        fitting = [each.name for each in model.signatures.values() if each.method == method]
        raise invalid(
            f"`signature_name` must name a signature for {method.rsplit('/')[-1]}: "
            f"{', '.join(fitting) or 'this model has none'}. Received: {name}."
        )
    return signature


def _serialized(source: input_pb2.Input, limits: Limits) -> np.ndarray:
    kind = source.WhichOneof("kind")
    examples: Sequence[tf.train.Example] = getattr(source, kind).examples if kind else ()
    if not examples:
        raise invalid("`input` must hold one Example or more. Received: none.")
    tensors.check_size("input", (len(examples),), limits)
    context = source.example_list_with_context.context.SerializeToString() if kind else b""
    # Two serialized protos in a row parse as their merge. If both have a feature, the later one
    # wins, which is the Example's.
    rows = [context + example.SerializeToString() for example in examples]
    return np.array(rows, object)
