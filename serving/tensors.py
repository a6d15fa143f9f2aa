"""Reads the tensors of a request. Checks sizes first: a few bytes can declare a huge tensor."""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.errors import invalid
from serving.limits import Limits
from serving.model import Signature

_MOST_ITEMS = 10_000  # of an answer, whatever its k (model/export/recommend.py)


def from_protos(
    signature: Signature, protos: Mapping[str, tensor_pb2.TensorProto], limits: Limits
) -> dict[str, np.ndarray]:
    """The inputs of a signature from a Predict request.

    Raises:
      RequestError: for missing or unknown inputs, wrong types or shapes, or too many values.
    """
    check_names(signature, set(protos))
    arrays = {}
    for name, spec in signature.inputs.items():
        proto = protos[name]
        if proto.tensor_shape.unknown_rank:
            raise invalid(f"`{name}` must have a shape. Received: one of unknown rank.")
        shape = tuple(dim.size for dim in proto.tensor_shape.dim)
        try:
            dtype = tf.dtypes.as_dtype(proto.dtype)
        except TypeError:
            raise invalid(
                f"`{name}` must have a TensorFlow type. Received: {proto.dtype}."
            ) from None
        spec.check(name, dtype, shape)
        check_size(name, shape, limits)
        try:
            arrays[name] = tf.make_ndarray(proto)
        except (ValueError, TypeError) as error:
            raise invalid(
                f"The values of `{name}` must match its shape. Received: shape {shape}, {error}."
            ) from None
    check_answer(signature, arrays, limits)
    return arrays


def check_names(signature: Signature, names: set[str]) -> None:
    """Refuses missing and unknown inputs."""
    wanted = set(signature.inputs)
    if names != wanted:
        raise invalid(
            f"Signature `{signature.name}` has the inputs {_listed(wanted)}. "
            f"Missing: {_listed(wanted - names)}. Unknown: {_listed(names - wanted)}."
        )


def check_size(name: str, shape: tuple[int, ...], limits: Limits) -> None:
    """Refuses a tensor that is larger than the limits."""
    # A side of 0 would hide another one, which the model may make a range of.
    count = math.prod(max(size, 1) for size in shape)
    most = min(limits.values, limits.candidates) if name == "candidates" else limits.values
    if count > most:
        raise invalid(
            f"`{name}` may hold at most {most:,} values in a request. Received: {count:,}. "
            "Split the request."
        )
    if shape and shape[0] > limits.rows:
        raise invalid(
            f"`{name}` may have at most {limits.rows:,} rows in a request. "
            f"Received: {shape[0]:,}. Split the request."
        )


def check_answer(signature: Signature, arrays: Mapping[str, np.ndarray], limits: Limits) -> None:
    """Refuses a request whose answer would be larger than the limits.

    Inputs within the limits can ask for more than fits: of `explain` an answer has a weight for
    each candidate and event, of `recommend` and `retrieve` k items for each user.
    """
    if "attention" in signature.outputs and {"candidates", "history_item"} <= set(arrays):
        asked = arrays["candidates"].size * arrays["history_item"].shape[-1]
        what = "weights, one for each candidate and event"
    elif "k" in arrays and arrays["k"].size:
        asked = arrays["k"].size * int(np.clip(arrays["k"].max(), 0, _MOST_ITEMS))
        what = "items, the largest `k` for each user"
    else:
        return
    if asked > limits.values:
        raise invalid(
            f"An answer may hold at most {limits.values:,} {what}. Asked for: {asked:,}. Split "
            "the request."
        )


def _listed(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"
