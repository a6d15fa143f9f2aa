"""Scores candidates for one user's history: TF Serving's protocol, so either server answers.

    python examples/client.py                      gRPC, port 8500
    python examples/client.py --rest               REST, port 8501

The ids below are of the generated ratings; any id has an answer.
"""

import argparse
import json
import time
import urllib.request

import grpc
from tensorflow import make_ndarray, make_tensor_proto
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--rest", action="store_true", help="REST instead of gRPC")
parser.add_argument("--server", help="HOST:PORT; 127.0.0.1 and TF Serving's port by default")
parser.add_argument("--model", default="imn", help="the name that it is served by")
parser.add_argument("--history", nargs="+", default=["B00UZP8U1Z", "B00DTIEQJ4", "B00JNIE1T4"])
parser.add_argument("--candidates", nargs="+", default=["B00KQNYRBS", "B00PDMRECU", "B00556CIMO"])
given = parser.parse_args()

now, day = int(time.time()), 86_400
request = {
    "history_item": [given.history],  # oldest first
    "history_time": [[now - day * ago for ago in range(len(given.history), 0, -1)]],
    "history_length": [len(given.history)],
    "request_time": [now],
    "candidates": [given.candidates],
}

if given.rest:
    url = f"http://{given.server or '127.0.0.1:8501'}/v1/models/{given.model}:predict"
    body = json.dumps({"signature_name": "rank", "inputs": request}).encode()
    with urllib.request.urlopen(url, body) as answer:
        scores = json.load(answer)["outputs"][0]
else:
    call = predict_pb2.PredictRequest()
    call.model_spec.name, call.model_spec.signature_name = given.model, "rank"
    for name, values in request.items():
        integers = name not in ("history_item", "candidates")
        call.inputs[name].CopyFrom(make_tensor_proto(values, "int64" if integers else "string"))
    channel = grpc.insecure_channel(given.server or "127.0.0.1:8500")
    answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(call, timeout=10)
    scores = make_ndarray(answer.outputs["scores"])[0]

for item, score in zip(given.candidates, scores, strict=True):
    print(f"{item}  {score:.4f}")
