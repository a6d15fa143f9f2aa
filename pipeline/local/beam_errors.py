"""What a portable Beam runner says of a job that failed: Beam logs it, and raises little of it."""

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence

_LOGGER = "apache_beam.runners.portability.portable_runner"
# The last line of a traceback, or what gRPC says below it.
_REASON = re.compile(r'^([\w.]*(?:Error|Exception): .*)$|\bdetails = "(.*)"', re.MULTILINE)
_LONGEST = 400


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
    """Collects the errors among the messages of jobs.

    Yields:
      the list that they are added to.
    """
    messages: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler = Handler(logging.ERROR)
    logging.getLogger(_LOGGER).addHandler(handler)
    try:
        yield messages
    finally:
        logging.getLogger(_LOGGER).removeHandler(handler)


def reason(messages: Sequence[str]) -> str:
    """The last exception that the messages name; "" if they name none."""
    found = _REASON.findall("\n".join(messages))
    return "".join(found[-1])[:_LONGEST] if found else ""
