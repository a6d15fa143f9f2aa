"""Beam's job server in Python, with the workers of a job on several worker pools.

    python -m tests.cluster.job_server --port=P --pools=HOST:PORT,HOST:PORT

It is Beam's own local job server: a client submits to it by the Job API, as it does to Flink's, and
it has a pool start the workers of the EXTERNAL environment, as a TaskManager does. Beam's server
uses one worker, and waits for ever for one that is gone. This one takes a worker from each pool and
gives each a part of every stage. If a worker is gone, the job fails: no work is repeated.
"""

import argparse
import itertools
import logging
import signal
import sys
import threading
import time
from collections.abc import Sequence

from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, beam_runner_api_pb2
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers

_CONNECT_SECONDS = 60  # a worker imports the project first


def serve(port: int, pools: Sequence[str]) -> None:
    """Serves until the process gets SIGTERM."""
    addresses = itertools.cycle(pools)

    @worker_handlers.WorkerHandler.register_environment(
        common_urns.environments.EXTERNAL.urn, beam_runner_api_pb2.ExternalPayload
    )
    class Worker(worker_handlers.ExternalWorkerHandler):
        """A worker of the next pool, which ends with its job."""

        def host_from_worker(self) -> str:
            return "localhost"  # Beam takes the machine's name, which may not resolve

        def start_worker(self) -> None:
            self._external_payload.endpoint.url = self._pool = next(addresses)
            super().start_worker()
            self._ended = False
            threading.Thread(target=self._answer_for_the_lost, daemon=True).start()

        def _answer_for_the_lost(self) -> None:
            """Fails what a worker was asked to do once its connection is gone."""
            connection = self.control_conn
            end = time.monotonic() + _CONNECT_SECONDS
            while connection._read_thread.ident is None and time.monotonic() < end:
                time.sleep(0.1)
            if connection._read_thread.ident is not None:
                connection._read_thread.join()
            error = f"RuntimeError: a worker of {self._pool} is gone"
            while not self._ended:
                for number in list(connection._futures_by_id):
                    response = beam_fn_api_pb2.InstructionResponse(
                        instruction_id=number, error=error
                    )
                    connection._futures_by_id.pop(number).set(response)
                time.sleep(0.1)

        def stop_worker(self) -> None:
            self._ended = True
            channel = worker_handlers.GRPCChannelFactory.insecure_channel(self._pool)
            stop = beam_fn_api_pb2.StopWorkerRequest(worker_id=self.worker_id)
            beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel).StopWorker(stop)

    class Runner(fn_runner.FnApiRunner):
        """Beam's runner, with as many workers as there are pools."""

        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            self._num_workers = len(pools)

    class Job(local_job_service.BeamJob):
        """A job on that runner."""

        def _invoke_runner(self) -> fn_runner.RunnerResult:
            self.set_state(local_job_service.beam_job_api_pb2.JobState.RUNNING)
            runner = Runner(provision_info=self._provision_info)
            return runner.run_via_runner_api(self._pipeline_proto, self.pipeline_options())

    server = local_job_service.LocalJobServicer(beam_job_type=Job)
    server.start_grpc_server(port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        signal.pause()
    finally:
        server.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pools", required=True)
    arguments = parser.parse_args()
    serve(arguments.port, arguments.pools.split(","))
