"""A request that is not answered, and why: the only error that reaches a client."""

import re
from typing import Any

import grpc

_LONGEST = 500  # of a message that may quote a request; gRPC sends it in a header


class RequestError(Exception):
    """A gRPC status for the client.

    Args:
      code: the status.
      message: which part of the request, the rule, what was received.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code, self.message = code, message[:_LONGEST]


def invalid(message: str) -> RequestError:
    """A request that no repetition makes right."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> RequestError:
    """A model, version or path that there is not."""
    return RequestError(grpc.StatusCode.NOT_FOUND, message)


def of_tensorflow(error: Any) -> RequestError:
    """A `tf.errors.OpError` in the words of the operation that failed, without its place."""
    lines = error.message.split("[[{{")[0].strip().splitlines() or [type(error).__name__]
    said = _ASSERTED.search(lines[-1])
    code = _BY_NUMBER.get(error.error_code, grpc.StatusCode.INTERNAL)
    return RequestError(code, said[1] if said else lines[-1])


_ASSERTED = re.compile(r"assertion failed: \[(.*?)\] \[Condition")
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
