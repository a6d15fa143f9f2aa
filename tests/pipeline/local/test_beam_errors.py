"""The reason of a failed job, from messages as Beam's job servers send them."""

import logging

from pipeline.local import beam_errors

GRPC = """Traceback (most recent call last):
  File "worker_handlers.py", line 634, in start_worker
grpc._channel._InactiveRpcError: <_InactiveRpcError of RPC that terminated with:
\tstatus = StatusCode.UNAVAILABLE
\tdetails = "connect to 127.0.0.1:50000: Connection refused"
>
"""


def test_the_last_exception_is_the_reason():
    assert beam_errors.reason([]) == beam_errors.reason(["Error running pipeline."]) == ""
    lost = "Traceback (most recent call last):\n  x\nRuntimeError: a worker is gone\n"
    assert beam_errors.reason([lost, "Error running pipeline."]) == "RuntimeError: a worker is gone"
    assert beam_errors.reason([lost, GRPC]) == "connect to 127.0.0.1:50000: Connection refused"
    java = "java.lang.RuntimeException: Error received from SDK harness\n\tat x.y(Z.java:1)"
    assert beam_errors.reason([java]).startswith("java.lang.RuntimeException: Error received")


def test_errors_of_jobs_are_collected_while_a_run_lasts():
    logger = logging.getLogger("apache_beam.runners.portability.portable_runner")
    with beam_errors.collected() as messages:
        logger.warning("slow")
        logger.error("ValueError: %s", "bad")
    logger.error("later")
    assert messages == ["ValueError: bad"]
