"""TF Serving's REST paths: what a path asks for, and the answer of a `Service` as JSON."""

import dataclasses
import json
import re
from typing import Any

import grpc
from google.protobuf import json_format as protobuf_json
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from serving.errors import RequestError, invalid
from serving.limits import Deadline
from serving.rest import json_format
from serving.service import Service

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>[0-9]{1,18})|/labels/(?P<label>[^/:]+))?"
    r"(:(?P<method>predict|classify|regress)|(?P<metadata>/metadata))?"
)


@dataclasses.dataclass(frozen=True)
class Route:
    """What a request asks for.

    Attributes:
      spec: the model, and its version or label if the path names one.
      method: `predict`, `classify` or `regress`; "" for a status or metadata.
      metadata: whether it asks for metadata.
    """

    spec: model_pb2.ModelSpec
    method: str
    metadata: bool


def route(verb: str, path: str) -> Route:
    """What a path asks for.

    Raises:
      RequestError: NOT_FOUND if TF Serving has no such path.
    """
    match = _PATH.fullmatch(path)
    if not match or verb != ("POST" if match["method"] else "GET"):
        raise RequestError(
            grpc.StatusCode.NOT_FOUND,
            "The path must be GET /v1/models/NAME or .../NAME/metadata, or POST .../NAME:predict, "
            f":classify or :regress. Received: {verb} {path}.",
        )
    spec = model_pb2.ModelSpec(name=match["name"])
    if match["version"]:
        spec.version.value = int(match["version"])
    elif match["label"]:
        spec.version_label = match["label"]
    return Route(spec, match["method"] or "", bool(match["metadata"]))


def answer(service: Service, to: Route, body: bytes, deadline: Deadline) -> dict[str, Any]:
    """The answer to a request.

    Raises:
      RequestError: if the request is refused.
    """
    if to.metadata:
        return _metadata(service, to.spec)
    if not to.method:
        return _status(service, to.spec)
    # A parsed body takes many times its bytes, so only requests that may compute are parsed.
    with service.turn(deadline):
        return _compute(service, to.spec, to.method, _parse(body), deadline)


def _compute(
    service: Service,
    spec: model_pb2.ModelSpec,
    method: str,
    fields: dict[str, Any],
    deadline: Deadline,
) -> dict[str, Any]:
    name = fields.get("signature_name", "")
    if not isinstance(name, str) or not name.isprintable():
        raise invalid("`signature_name` must be a string of printable characters.")
    spec.signature_name = name
    if method == "predict":
        return _predict(service, spec, fields, deadline)
    return _examples(service, spec, fields, deadline, method)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise invalid(f"The body must be JSON in UTF-8. Received: {error}.") from None
    if not isinstance(fields, dict):
        raise invalid("The body must be a JSON object.")
    return fields


def _predict(
    service: Service, spec: model_pb2.ModelSpec, fields: dict[str, Any], deadline: Deadline
) -> dict[str, Any]:
    _, values = service.run(
        spec, lambda signature: json_format.inputs(signature, fields, service.limits), deadline
    )
    return json_format.outputs(values, "instances" in fields)


def _examples(
    service: Service,
    spec: model_pb2.ModelSpec,
    fields: dict[str, Any],
    deadline: Deadline,
    method: str,
) -> dict[str, Any]:
    kinds: dict[str, Any] = {
        "classify": classification_pb2.ClassificationRequest,
        "regress": regression_pb2.RegressionRequest,
    }
    request = kinds[method](model_spec=spec)
    rows, context = json_format.examples(fields)
    request.input.example_list_with_context.examples.extend(rows)
    request.input.example_list_with_context.context.CopyFrom(context)
    if method == "classify":
        classified = service.classify(request, deadline).result.classifications
        return {
            "result": [[[each.label, each.score] for each in row.classes] for row in classified]
        }
    return {
        "result": [each.value for each in service.regress(request, deadline).result.regressions]
    }


def _status(service: Service, spec: model_pb2.ModelSpec) -> dict[str, Any]:
    request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
    states = get_model_status_pb2.ModelVersionStatus.State
    return {
        "model_version_status": [
            {
                "version": str(row.version),
                "state": states.Name(row.state),
                "status": {
                    "error_code": "UNKNOWN" if row.status.error_code else "OK",
                    "error_message": row.status.error_message,
                },
            }
            for row in service.status(request).model_version_status
        ]
    }


def _metadata(service: Service, spec: model_pb2.ModelSpec) -> dict[str, Any]:
    request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec)
    request.metadata_field.append("signature_def")
    answer = service.metadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    return {
        "model_spec": protobuf_json.MessageToDict(
            answer.model_spec, preserving_proto_field_name=True
        ),
        "metadata": {
            "signature_def": protobuf_json.MessageToDict(
                signatures, preserving_proto_field_name=True
            )
        },
    }
