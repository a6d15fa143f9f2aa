"""The error that clients see: a gRPC status with a message."""

import re
from typing import Any

import grpc

_MAX_CHARACTERS = 500  # A message may quote the request, and gRPC sends it in a header.


class RequestError(Exception):
    """A request that gets an error instead of an answer.

    Args:
      code: the gRPC status.
      message: the input, the rule, the received value, and what to do. Cut to 500 characters.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code, self.message = code, message[:_MAX_CHARACTERS]


def invalid(message: str) -> RequestError:
    """INVALID_ARGUMENT: the request breaks a rule, so a retry does not help."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> RequestError:
    """NOT_FOUND: the model, version or path does not exist."""
    return RequestError(grpc.StatusCode.NOT_FOUND, message)


def from_tensorflow(error: Any) -> RequestError:
    """Turns a `tf.errors.OpError` into a RequestError, without the name of the graph node."""
    lines = error.message.split("[[{{")[0].strip().splitlines() or [type(error).__name__]
    assertion = _ASSERTION.search(lines[-1])
    code = _BY_NUMBER.get(error.error_code, grpc.StatusCode.INTERNAL)
    return RequestError(code, assertion[1] if assertion else lines[-1])


_ASSERTION = re.compile(r"assertion failed: \[(.*?)\](?: \[Condition|$)")
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
