"""A loaded version of a model: a TensorFlow session, as in TF Serving."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.errors import from_tensorflow, invalid

_INIT = "__saved_model_init_op"  # stored as a signature, but initialises the model
_WARMUP = os.path.join("assets.extra", "tf_serving_warmup_requests")


@dataclasses.dataclass(frozen=True)
class Spec:
    """An input of a signature: tensor name, type and shape. `None` allows any size."""

    tensor: str
    dtype: tf.DType
    shape: tuple[int | None, ...]

    def check(self, name: str, dtype: tf.DType, shape: tuple[int, ...]) -> None:
        """Refuses a wrong type or shape. The graph checks sizes that must agree between inputs."""
        if dtype != self.dtype:
            raise invalid(f"`{name}` must be of type {self.dtype.name}. Received: {dtype.name}.")
        if len(shape) != len(self.shape) or any(
            size < 0 or (expected is not None and size != expected)
            for size, expected in zip(shape, self.shape, strict=True)
        ):
            wanted = ", ".join("any" if size is None else str(size) for size in self.shape)
            raise invalid(f"`{name}` must have the shape ({wanted}). Received: {shape}.")


@dataclasses.dataclass(frozen=True)
class Signature:
    """A signature: its method, inputs by name, and tensor names of outputs by name."""

    name: str
    method: str
    inputs: Mapping[str, Spec]
    outputs: Mapping[str, str]


class Model:
    """A SavedModel in its own session, so that `close` frees all memory.

    Args:
      folder: contains `saved_model.pb`.

    Raises:
      RequestError: if variables or assets cannot be read.
      Exception: TensorFlow raises many types for a broken SavedModel.
    """

    def __init__(self, folder: str):
        self.folder = folder
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        try:
            with self._session.graph.as_default():
                meta = tf.compat.v1.saved_model.load(self._session, ["serve"], folder)
        except BaseException as error:
            self._session.close()
            if isinstance(error, tf.errors.OpError):
                raise from_tensorflow(error) from None
            raise
        self.definition: dict[str, meta_graph_pb2.SignatureDef] = {
            name: proto for name, proto in meta.signature_def.items() if name != _INIT
        }
        self.signatures = {name: _signature(name, proto) for name, proto in self.definition.items()}

    def run(
        self, signature: Signature, inputs: Mapping[str, np.ndarray], seconds: float
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature for checked inputs.

        Raises:
          RequestError: if the graph refuses the inputs or takes longer than `seconds`.
        """
        feed = {signature.inputs[name].tensor: value for name, value in inputs.items()}
        options = tf.compat.v1.RunOptions(timeout_in_ms=max(1, round(1000 * seconds)))
        try:
            return self._session.run(dict(signature.outputs), feed, options=options)
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from None
        except UnicodeDecodeError as error:
            # TensorFlow's message quotes bytes of the request that are not UTF-8.
            message = error.object.decode(errors="replace")
            raise invalid(message.split("\n")[0]) from None

    def warm_up(self, answer: Callable[[Any], Any]) -> int:
        """Calls `answer` with each warm-up request of the export, and counts them.

        Args:
          answer: takes a Predict, Classify or Regress request. Its errors propagate.

        Raises:
          tf.errors.DataLossError: if the file of requests is broken.
        """
        path, count = os.path.join(self.folder, _WARMUP), 0
        if not os.path.exists(path):
            return 0
        for record in tf.compat.v1.io.tf_record_iterator(path):
            log = prediction_log_pb2.PredictionLog.FromString(record)
            kind = log.WhichOneof("log_type")
            if kind in ("predict_log", "classify_log", "regress_log"):
                answer(getattr(log, kind).request)
                count += 1
        return count

    def close(self) -> None:
        """Frees the graph, variables and tables."""
        self._session.close()


def _signature(name: str, proto: meta_graph_pb2.SignatureDef) -> Signature:
    def spec(info: meta_graph_pb2.TensorInfo) -> Spec:
        shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
        return Spec(info.name, tf.dtypes.as_dtype(info.dtype), shape)

    return Signature(
        name,
        proto.method_name,
        {key: spec(info) for key, info in proto.inputs.items()},
        {key: info.name for key, info in proto.outputs.items()},
    )
