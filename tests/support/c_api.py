"""An exported model through TensorFlow's C API: the loader that TF Serving builds on.

Python's loader rebuilds functions and forgives much; TF Serving starts a
session from the MetaGraph. This module does the same through ctypes and never
imports TensorFlow's Python side, so that a process of its own, which holds
nothing of the process that trained, answers as a server would:

    python -m tests.support.c_api MODEL_DIR < REQUESTS > ANSWERS

REQUESTS is a JSON list of runs, each an object with `feed`, which gives tensors
by name as `{"shape": [...], "values": [...]}` (integers, or bytes in base64),
and `fetch`, the name of a tensor. ANSWERS is a list of its values for each run,
flat; strings are in base64. Exit status 1 and a line on stderr say what TensorFlow refused.
"""

import base64
import ctypes
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_TF_FLOAT, _TF_STRING, _TF_INT64 = 1, 7, 9
_TSTRING_BYTES = 24  # sizeof(TF_TString), fixed by TensorFlow's ABI
_P = ctypes.c_void_p


class _Output(ctypes.Structure):
    """TF_Output: one output of an operation."""

    _fields_ = (("operation", _P), ("index", ctypes.c_int))


def _library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("TensorFlow is not installed in this Python.")
    folder = spec.submodule_search_locations[0]
    library = ctypes.CDLL(os.path.join(folder, "libtensorflow_cc.so.2"))
    for name, result, arguments in (
        ("TF_NewStatus", _P, ()),
        ("TF_GetCode", ctypes.c_int, (_P,)),
        ("TF_Message", ctypes.c_char_p, (_P,)),
        ("TF_NewGraph", _P, ()),
        ("TF_NewSessionOptions", _P, ()),
        (
            "TF_LoadSessionFromSavedModel",
            _P,
            (_P, _P, ctypes.c_char_p, _P, ctypes.c_int, _P, _P, _P),
        ),
        ("TF_GraphOperationByName", _P, (_P, ctypes.c_char_p)),
        ("TF_OperationOutputType", ctypes.c_int, (_Output,)),
        ("TF_AllocateTensor", _P, (ctypes.c_int, _P, ctypes.c_int, ctypes.c_size_t)),
        ("TF_DeleteTensor", None, (_P,)),
        ("TF_TensorData", _P, (_P,)),
        ("TF_TensorByteSize", ctypes.c_size_t, (_P,)),
        ("TF_TensorType", ctypes.c_int, (_P,)),
        ("TF_StringInit", None, (_P,)),
        ("TF_StringCopy", None, (_P, ctypes.c_char_p, ctypes.c_size_t)),
        ("TF_StringGetDataPointer", _P, (_P,)),
        ("TF_StringGetSize", ctypes.c_size_t, (_P,)),
        (
            "TF_SessionRun",
            None,
            (_P, _P, _P, _P, ctypes.c_int, _P, _P, ctypes.c_int, _P, ctypes.c_int, _P, _P),
        ),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Session:
    """A session over an export's `serve` MetaGraph.

    Args:
      model_dir: the folder of `saved_model.pb`.

    Raises:
      RuntimeError: with TensorFlow's own words where it cannot load the export.
    """

    def __init__(self, model_dir: str):
        self._tf = _library()
        self._status = self._tf.TF_NewStatus()
        self._graph = self._tf.TF_NewGraph()
        options = self._tf.TF_NewSessionOptions()
        tags = (ctypes.c_char_p * 1)(b"serve")
        self._session = self._tf.TF_LoadSessionFromSavedModel(
            options, None, model_dir.encode(), tags, 1, self._graph, None, self._status
        )
        self._check()

    def run(self, feed: Mapping[str, Mapping[str, Any]], fetch: str) -> list[Any]:
        """Runs one signature.

        Args:
          feed: by tensor name (`op:0`), `shape` and `values`: bytes or int64, flat.
          fetch: name of the tensor to read, of float32, int64 or strings.

        Returns:
          Its values, flat.

        Raises:
          RuntimeError: with TensorFlow's own words where the run fails.
        """
        count = len(feed)
        places = [self._tensor(name) for name in feed]
        given = [
            self._given(self._tf.TF_OperationOutputType(place), each["values"], each["shape"])
            for place, each in zip(places, feed.values(), strict=True)
        ]
        answer = (_P * 1)()
        inputs = (_Output * count)(*places)
        self._tf.TF_SessionRun(
            self._session,
            None,
            inputs,
            (_P * count)(*given),
            count,
            (_Output * 1)(self._tensor(fetch)),
            answer,
            1,
            None,
            0,
            None,
            self._status,
        )
        for tensor in given:
            self._tf.TF_DeleteTensor(tensor)
        self._check()
        values = self._values(answer[0], fetch)
        self._tf.TF_DeleteTensor(answer[0])
        return values

    def _values(self, tensor: int, name: str) -> list[Any]:
        kind, data = self._tf.TF_TensorType(tensor), self._tf.TF_TensorData(tensor)
        size = self._tf.TF_TensorByteSize(tensor)
        if kind == _TF_STRING:
            places = range(data, data + size, _TSTRING_BYTES)
            return [
                ctypes.string_at(
                    self._tf.TF_StringGetDataPointer(place), self._tf.TF_StringGetSize(place)
                )
                for place in places
            ]
        if kind not in (_TF_FLOAT, _TF_INT64):
            raise RuntimeError(f"`{name}` must be a tensor of float32, int64 or strings.")
        number = ctypes.c_float if kind == _TF_FLOAT else ctypes.c_int64
        pointer = ctypes.cast(data, ctypes.POINTER(number))
        return pointer[: size // ctypes.sizeof(number)]

    def _given(self, kind: int, values: Sequence[Any], shape: Sequence[int]) -> int:
        wanted = {_TF_INT64: int, _TF_STRING: bytes}.get(kind)
        if wanted is None or not all(isinstance(value, wanted) for value in values):
            raise RuntimeError("A fed tensor must be of int64 or strings, and so must its values.")
        sizes = (ctypes.c_int64 * len(shape))(*shape)
        if kind == _TF_INT64:
            numbers = (ctypes.c_int64 * len(values))(*values)
            size = ctypes.sizeof(numbers)
            tensor = self._tf.TF_AllocateTensor(_TF_INT64, sizes, len(shape), size)
            ctypes.memmove(self._tf.TF_TensorData(tensor), numbers, size)
            return tensor
        size = _TSTRING_BYTES * len(values)
        tensor = self._tf.TF_AllocateTensor(_TF_STRING, sizes, len(shape), size)
        start = self._tf.TF_TensorData(tensor)
        for i, value in enumerate(values):
            place = start + i * _TSTRING_BYTES
            self._tf.TF_StringInit(place)
            self._tf.TF_StringCopy(place, value, len(value))
        return tensor

    def _tensor(self, name: str) -> _Output:
        operation, _, index = name.partition(":")
        found = self._tf.TF_GraphOperationByName(self._graph, operation.encode())
        if not found:
            raise RuntimeError(f"The export has no operation `{operation}`.")
        return _Output(found, int(index or 0))

    def _check(self) -> None:
        if self._tf.TF_GetCode(self._status):
            raise RuntimeError(self._tf.TF_Message(self._status).decode(errors="replace"))


def plain(values: Sequence[Any], shape: Sequence[int]) -> dict[str, Any]:
    """A tensor as REQUESTS has it."""
    return {
        "shape": list(shape),
        "values": [
            base64.b64encode(v).decode() if isinstance(v, bytes) else int(v) for v in values
        ],
    }


def ask(model_dir: str, runs: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """The answers of a process of its own to some runs."""
    command = [sys.executable, "-m", "tests.support.c_api", model_dir]
    done = subprocess.run(
        command, input=json.dumps(runs), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def main(argv: list[str]) -> int:
    """Answers the requests of standard input; see the module's docstring."""
    runs = json.load(sys.stdin)
    for run in runs:
        for tensor in run["feed"].values():
            tensor["values"] = [
                base64.b64decode(value) if isinstance(value, str) else value
                for value in tensor["values"]
            ]
    try:
        session = Session(*argv)
        answers = [session.run(**run) for run in runs]
        json.dump(answers, sys.stdout, default=lambda text: base64.b64encode(text).decode())
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
