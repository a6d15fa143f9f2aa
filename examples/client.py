"""Scores candidates for the history of one user, with the embedded server or TF Serving.

    .venv/bin/python examples/client.py                gRPC, port 8500
    .venv/bin/python examples/client.py --rest         REST, port 8501

The default ids come from the generated ratings; a model scores any id.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
import warnings

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--rest", action="store_true", help="REST instead of gRPC")
parser.add_argument("--server", help="HOST:PORT; default: 127.0.0.1 and TF Serving's port")
parser.add_argument("--model", default="imn", help="name of the served model")
parser.add_argument("--history", nargs="+", default=["B00UZP8U1Z", "B00DTIEQJ4", "B00JNIE1T4"])
parser.add_argument("--candidates", nargs="+", default=["B00KQNYRBS", "B00PDMRECU", "B00556CIMO"])
parser.add_argument(
    "--event-field",
    nargs="+",
    action="append",
    default=[],
    metavar=("NAME", "VALUE"),
    help="of a model with event fields: a name, and a value for each event of the history",
)
arguments = parser.parse_args()
server = arguments.server or f"127.0.0.1:{8501 if arguments.rest else 8500}"

# Times are Unix seconds. The server refuses times after 2100, such as milliseconds.
now, day = int(time.time()), 86_400
request = {
    "history_item": [arguments.history],  # oldest first
    "history_time": [[now - day * ago for ago in range(len(arguments.history), 0, -1)]],
    "history_length": [len(arguments.history)],
    "request_time": [now],
    "candidates": [arguments.candidates],
}
for field, *values in arguments.event_field:
    request[f"history_{field}"] = [values]


def over_rest() -> list[float]:
    """The scores from the REST port."""
    body = json.dumps({"signature_name": "rank", "inputs": request}).encode()
    url = f"http://{server}/v1/models/{arguments.model}:predict"
    try:
        with urllib.request.urlopen(url, body, timeout=10) as answer:
            return json.load(answer)["outputs"][0]
    except urllib.error.HTTPError as error:
        sys.exit(f"{server} answered {error.code}: {error.read().decode()}")
    except OSError as error:
        sys.exit(f"No answer from {server}: {error}. Start a server first: make serve.")


def over_grpc() -> list[float]:
    """The scores from the gRPC port."""
    warnings.simplefilter("ignore", FutureWarning)  # Libraries warn about old Python versions.
    screen, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # TensorFlow's C++ code writes about processors and GPUs
    try:
        import grpc
        from tensorflow import make_ndarray, make_tensor_proto
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
    except ModuleNotFoundError as error:
        sys.exit(
            f"{error}. Start it as .venv/bin/python examples/client.py, or use --rest, which needs "
            "no package."
        )
    finally:
        os.dup2(screen, 2)

    call = predict_pb2.PredictRequest()
    call.model_spec.name, call.model_spec.signature_name = arguments.model, "rank"
    for name, values in request.items():
        numbers = name in ("history_time", "history_length", "request_time")
        dtype = "int64" if numbers else "string"
        call.inputs[name].CopyFrom(make_tensor_proto(values, dtype))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(server))
    try:
        answer = stub.Predict(call, timeout=10)
    except grpc.RpcError as error:
        sys.exit(
            f"{server} answered {error.code().name}: {error.details()} "
            "If no server runs, start one: make serve."
        )
    return make_ndarray(answer.outputs["scores"])[0]


scores = over_rest() if arguments.rest else over_grpc()
for item, score in zip(arguments.candidates, scores, strict=True):
    print(f"{item}  {score:.4f}")
