"""Converts the JSON of TF Serving's REST API to tensors and back."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from serving import tensors
from serving.errors import invalid
from serving.limits import Limits
from serving.model import Signature, Spec


def inputs(signature: Signature, body: Mapping[str, Any], limits: Limits) -> dict[str, np.ndarray]:
    """The inputs of a signature from a `:predict` body.

    Args:
      signature: the signature.
      body: holds either `instances`, a list of rows, or `inputs`, a dict of columns. If the
        signature has one input, the value alone may replace the dict.
      limits: the largest tensors.

    Raises:
      RequestError: if the body has another form.
    """
    if ("instances" in body) == ("inputs" in body):
        raise invalid("The body must hold either `instances` or `inputs`.")
    columns = body["inputs"] if "inputs" in body else _columns(signature, body["instances"])
    if not isinstance(columns, dict) or _is_bytes(columns):
        columns = {_only_input(signature): columns}
    tensors.check_names(signature, set(columns))
    arrays = {
        name: _array(name, spec, columns[name], limits) for name, spec in signature.inputs.items()
    }
    tensors.check_answer(signature, arrays, limits)
    return arrays


def outputs(values: Mapping[str, np.ndarray], by_rows: bool) -> dict[str, Any]:
    """The answer to `:predict`: `predictions` by row, or `outputs` by column."""
    plain = {name: _plain(name, value.tolist()) for name, value in values.items()}
    if not by_rows:
        return {"outputs": next(iter(plain.values())) if len(plain) == 1 else plain}
    if len(plain) == 1:
        return {"predictions": next(iter(plain.values()))}
    rows = zip(*plain.values(), strict=True)
    return {"predictions": [dict(zip(plain, row, strict=True)) for row in rows]}


def examples(body: Mapping[str, Any]) -> tuple[list[tf.train.Example], tf.train.Example]:
    """The Examples of a `:classify` or `:regress` body, and the context that they share.

    Raises:
      RequestError: if the body has another form.
    """
    rows, context = body.get("examples"), body.get("context", {})
    if not isinstance(rows, list):
        raise invalid("The body must hold a list `examples`.")
    return [_example(row) for row in rows], _example(context)


def _columns(signature: Signature, rows: Any) -> dict[str, list]:
    if not isinstance(rows, list) or not rows:
        raise invalid("`instances` must be a list of one row or more.")
    if not isinstance(rows[0], dict) or _is_bytes(rows[0]):
        return {_only_input(signature): rows}
    for row in rows:
        if not isinstance(row, dict) or set(row) != set(rows[0]):
            raise invalid("All `instances` must be objects with the same inputs.")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _only_input(signature: Signature) -> str:
    if len(signature.inputs) != 1:
        names = ", ".join(f"`{name}`" for name in sorted(signature.inputs))
        raise invalid(f"Signature `{signature.name}` has several inputs. Name each: {names}.")
    return next(iter(signature.inputs))


def _array(name: str, spec: Spec, value: Any, limits: Limits) -> np.ndarray:
    shape = _shape(name, value, len(spec.shape))
    spec.check(name, spec.dtype, shape)
    tensors.check_size(name, shape, limits)
    flat: list[Any] = []
    _flatten(name, value, shape, flat)
    convert = _bytes if spec.dtype == tf.string else _number(spec)
    try:
        return np.array([convert(each) for each in flat], spec.dtype.as_numpy_dtype).reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise invalid(f"`{name}` must hold values of type {spec.dtype.name}: {error}.") from None


def _shape(name: str, value: Any, rank: int) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > rank:
            raise invalid(f"`{name}` must have {rank} dimensions. Received more.")
        if not value:
            # An empty list does not show its inner dimensions.
            return tuple(shape + [0] * (rank - len(shape)))
        value = value[0]
    return tuple(shape)


def _flatten(name: str, value: Any, shape: tuple[int, ...], flat: list[Any]) -> None:
    if not shape:
        if isinstance(value, list):
            raise invalid(f"`{name}` must have rows of the same length and depth.")
        flat.append(value)
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        raise invalid(f"`{name}` must have rows of the same length and depth.")
    for each in value:
        _flatten(name, each, shape[1:], flat)


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"}


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not _is_bytes(value) or not isinstance(value["b64"], str):
        raise ValueError('expected a string or {"b64": "..."}')
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("`b64` must be base64") from None


def _number(spec: Spec) -> Any:
    def convert(value: Any) -> Any:
        if spec.dtype == tf.bool:
            if not isinstance(value, bool):
                raise ValueError("expected true or false")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("expected a number")
        if spec.dtype.is_integer and value != int(value):
            raise ValueError(f"expected a whole number, received {value}")
        return int(value) if spec.dtype.is_integer else value

    return convert


def _example(row: Any) -> tf.train.Example:
    if not isinstance(row, dict):
        raise invalid("An Example must be an object of features.")
    example = tf.train.Example()
    for name, value in row.items():
        values = value if isinstance(value, list) else [value]
        try:
            feature = example.features.feature[name]
            if any(isinstance(each, bool) for each in values):
                raise ValueError("expected numbers or strings, received a boolean")
            if all(isinstance(each, int) for each in values):
                feature.int64_list.value.extend(values)
            elif all(isinstance(each, int | float) for each in values):
                feature.float_list.value.extend(values)
            else:
                feature.bytes_list.value.extend(_bytes(each) for each in values)
        except (ValueError, TypeError) as error:
            raise invalid(f"Feature `{name}` cannot be read: {error}.") from None
    return example


def _plain(name: str, value: Any) -> Any:
    """Bytes as text, or as base64 if the name of the output ends in `_bytes`."""
    if isinstance(value, list):
        return [_plain(name, each) for each in value]
    if isinstance(value, bytes):
        if name.endswith("_bytes"):
            return {"b64": base64.b64encode(value).decode()}
        return value.decode(errors="replace")
    return value
