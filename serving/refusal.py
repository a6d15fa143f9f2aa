"""A request that is not answered, and why: the only error that reaches a client."""

from typing import Any

import grpc


class Refusal(Exception):
    """A gRPC status for the client.

    Args:
      code: the status.
      message: which part of the request, the rule, what was received.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code, self.message = code, message


def invalid(message: str) -> Refusal:
    """A request that no repetition makes right."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> Refusal:
    """A model, version or path that there is not."""
    return Refusal(grpc.StatusCode.NOT_FOUND, message)


def of_tensorflow(error: Any) -> Refusal:
    """The words of a `tf.errors.OpError`, without the names of operations that follow them."""
    code = _BY_NUMBER.get(error.error_code, grpc.StatusCode.INTERNAL)
    return Refusal(code, error.message.split("\n\t")[0].split("[[{{")[0].strip())


_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
