"""From a request of TF Serving's protocol to its answer, whichever way it came."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

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
from serving.model import Model, Signature
from serving.registry import ModelRegistry

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
_DEFAULT = "serving_default"
# Warm-up requests come with the model, not from a client, and the first run of a graph
# optimizes it.
_WARM_UP = Limits(rows=1 << 30, values=1 << 30, candidates=1 << 30, seconds=60.0)
Inputs = Callable[[Signature], Mapping[str, np.ndarray]]


class Service:
    """Answers Predict, Classify, Regress, GetModelMetadata and GetModelStatus.

    The first three compute: they are called within a `turn`.

    Args:
      root: the folder of the models.
      limits: what is let in.
    """

    def __init__(self, root: str, limits: Limits):
        self.limits = limits
        self.catalog = ModelRegistry(root, self._load)
        self.admission = AdmissionQueue(limits.running, limits.queue)
        self._stopping = False

    def refuse_more(self) -> None:
        """What comes from now on is UNAVAILABLE; what is under way is answered."""
        self._stopping = True

    @contextlib.contextmanager
    def turn(self, deadline: Deadline) -> Iterator[None]:
        """Waits in the queue; a request that computes is parsed and answered in here.

        Raises:
          RequestError: as `AdmissionQueue.slot` says, and UNAVAILABLE at the end of the server.
        """
        if self._stopping:
            raise RequestError(grpc.StatusCode.UNAVAILABLE, "The server is stopping.")
        with self.admission.slot(deadline):
            yield

    def predict(
        self, request: predict_pb2.PredictRequest, deadline: Deadline
    ) -> predict_pb2.PredictResponse:
        """PredictionService.Predict."""
        with self._use(request.model_spec) as (version, model):
            outputs = _predict(model, request, self.limits, deadline)
            answer = predict_pb2.PredictResponse()
            name = request.model_spec.signature_name
            _fill(answer.model_spec, request.model_spec.name, version, name)
            for key, value in outputs.items():
                answer.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return answer

    def classify(
        self, request: classification_pb2.ClassificationRequest, deadline: Deadline
    ) -> classification_pb2.ClassificationResponse:
        """PredictionService.Classify."""
        with self._use(request.model_spec) as (version, model):
            outputs = _examples(model, request, CLASSIFY, self.limits, deadline)
            answer = classification_pb2.ClassificationResponse()
            name = request.model_spec.signature_name
            _fill(answer.model_spec, request.model_spec.name, version, name)
            for labels, scores in zip(outputs["classes"], outputs["scores"], strict=True):
                row = answer.result.classifications.add()
                for label, score in zip(labels, scores, strict=True):
                    row.classes.add(label=label.decode(), score=score)
        return answer

    def regress(
        self, request: regression_pb2.RegressionRequest, deadline: Deadline
    ) -> regression_pb2.RegressionResponse:
        """PredictionService.Regress."""
        with self._use(request.model_spec) as (version, model):
            outputs = _examples(model, request, REGRESS, self.limits, deadline)
            answer = regression_pb2.RegressionResponse()
            name = request.model_spec.signature_name
            _fill(answer.model_spec, request.model_spec.name, version, name)
            for value in outputs["outputs"]:
                answer.result.regressions.add(value=value)
        return answer

    def run(
        self, spec: model_pb2.ModelSpec, inputs: Inputs, deadline: Deadline
    ) -> tuple[Signature, dict[str, np.ndarray]]:
        """Predict for inputs that are made once the signature is known, as REST's are."""
        with self._use(spec) as (_, model):
            signature = _signature(model, spec.signature_name)
            return signature, model.run(signature, inputs(signature), deadline.left())

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """PredictionService.GetModelMetadata; `signature_def` is the only field there is."""
        unknown = set(request.metadata_field) - {"signature_def"}
        if unknown or not request.metadata_field:
            raise invalid(
                "`metadata_field` must be `signature_def`. Received: "
                f"{', '.join(sorted(request.metadata_field)) or 'none'}."
            )
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        name = request.model_spec.name
        with self._use(request.model_spec) as (version, model):
            _fill(answer.model_spec, name, version, "")
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for key, of in model.definition.items():
                signatures.signature_def[key].CopyFrom(of)
            answer.metadata["signature_def"].Pack(signatures)
        return answer

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """ModelService.GetModelStatus."""
        answer = get_model_status_pb2.GetModelStatusResponse()
        wanted = _version(request.model_spec)
        states = self.catalog.model(request.model_spec.name).states()
        for state in states:
            if wanted in (None, state.version):
                row = answer.model_version_status.add(version=state.version)
                row.state = get_model_status_pb2.ModelVersionStatus.State.Value(state.state)
                if state.error:
                    row.status.error_code = tf.errors.UNKNOWN
                    row.status.error_message = state.error
        if wanted is not None and not answer.model_version_status:
            name = request.model_spec.name
            raise not_found(f"Could not find version {wanted} of model {name}")
        return answer

    def _load(self, folder: str) -> Model:
        """A version that has answered what it was exported with, or an error."""
        model = Model(folder)
        try:
            model.warm_up(lambda request: _warm_up(model, request))
        except BaseException:
            model.close()
            raise
        return model

    def _use(
        self, spec: model_pb2.ModelSpec
    ) -> contextlib.AbstractContextManager[tuple[int, Model]]:
        return self.catalog.model(spec.name).use(_version(spec))


def _warm_up(model: Model, request: Any) -> None:
    limits, deadline = _WARM_UP, Deadline(_WARM_UP.seconds)
    if isinstance(request, predict_pb2.PredictRequest):
        outputs = _predict(model, request, limits, deadline)
    elif isinstance(request, classification_pb2.ClassificationRequest):
        outputs = _examples(model, request, CLASSIFY, limits, deadline)
    else:
        outputs = _examples(model, request, REGRESS, limits, deadline)
    for name, value in outputs.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"A warm-up request gave `{name}` that is not finite.")


def _predict(
    model: Model, request: predict_pb2.PredictRequest, limits: Limits, deadline: Deadline
) -> dict[str, np.ndarray]:
    signature = _signature(model, request.model_spec.signature_name)
    wanted = set(request.output_filter) or set(signature.outputs)
    if unknown := wanted - set(signature.outputs):
        raise invalid(
            f"`output_filter` must name outputs of `{signature.name}`: "
            f"{', '.join(sorted(signature.outputs))}. Received: {', '.join(sorted(unknown))}."
        )
    inputs = tensors.of_protos(signature, request.inputs, limits)
    outputs = model.run(signature, inputs, deadline.left())
    return {name: value for name, value in outputs.items() if name in wanted}


def _examples(
    model: Model, request: Any, method: str, limits: Limits, deadline: Deadline
) -> dict[str, np.ndarray]:
    signature = _signature(model, request.model_spec.signature_name, method)
    serialized = _serialized(request.input, limits)
    return model.run(signature, {"inputs": serialized}, deadline.left())


def _signature(model: Model, name: str, method: str = "") -> Signature:
    name = name or _DEFAULT
    if name not in model.signatures:
        there = ", ".join(f"`{each}`" for each in sorted(model.signatures))
        raise invalid(f"There is no signature `{name}`. There are: {there}.")
    signature = model.signatures[name]
    if method and signature.method != method:
        fit = [each.name for each in model.signatures.values() if each.method == method]
        raise invalid(
            f"`signature_name` must name a signature for {method.rsplit('/')[-1]}: "
            f"{', '.join(fit) or 'this model has none'}. Received: {name}."
        )
    return signature


def _version(spec: model_pb2.ModelSpec) -> int | None:
    if spec.version_label:
        raise invalid(f"Version labels are not supported. Received: `{spec.version_label}`.")
    return spec.version.value if spec.HasField("version") else None


def _fill(spec: model_pb2.ModelSpec, name: str, version: int, signature: str) -> None:
    spec.name, spec.version.value, spec.signature_name = name, version, signature


def _serialized(source: input_pb2.Input, limits: Limits) -> np.ndarray:
    kind = source.WhichOneof("kind")
    examples: Sequence[tf.train.Example] = getattr(source, kind).examples if kind else ()
    if not examples:
        raise invalid("`input` must hold one Example or more. Received: none.")
    tensors.check_size("input", (len(examples),), limits)
    context = source.example_list_with_context.context.SerializeToString() if kind else b""
    # Serialized protos one after the other are one proto with the fields of both; where
    # both have a feature the later, the Example's own, counts.
    rows = [context + example.SerializeToString() for example in examples]
    return np.array(rows, object)
