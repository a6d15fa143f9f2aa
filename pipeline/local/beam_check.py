"""Checks a portable Beam runner before a run, so that its faults are named at once.

`addresses` asks what needs no job: is there a server, and is it of the right version? `probe` runs
a small job: do the workers have this code and these versions, and do they see the folders of the
run? Beam itself tells little of this, some of it after minutes, and at the first component.
"""

import contextlib
import io
import json
import os
import platform
import re
import shutil
import socket
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options import pipeline_options as beam_options
from apache_beam.runners import create_runner

from pipeline.dependencies import digest
from pipeline.errors import InputError
from pipeline.ingest.sources import filesystem
from pipeline.local import beam_errors

_PORTABLE = ("PortableRunner", "FlinkRunner", "SparkRunner")
_ANSWER_SECONDS = 5
_PROBE_SECONDS = 180  # a worker loads TFX in 10 to 60 s
_ELEMENTS = 16
_SERVER_JAR = re.compile(r"beam-runners-flink-(\d+\.\d+)-job-server-([\w.]+)\.jar$")


def addresses(args: Sequence[str]) -> None:
    """Checks the options, the addresses in them, and Flink's version.

    Args:
      args: Beam's options of the run.

    Raises:
      InputError: if an option is wrong, nothing answers, or versions do not fit.
    """
    options = _parsed(args)
    name = options.view_as(beam_options.StandardOptions).runner or "DirectRunner"
    try:
        create_runner(name)
    except (ValueError, ImportError) as error:
        raise InputError(f"`beam_args` must name a runner of Beam. {error}") from None
    if not _is_portable(options):
        return
    portable = options.view_as(beam_options.PortableOptions)
    if portable.job_endpoint and portable.job_endpoint != "embed":
        _connect("--job_endpoint", portable.job_endpoint)
        if portable.artifact_endpoint:
            _connect("--artifact_endpoint", portable.artifact_endpoint)
    elif name == "PortableRunner":
        raise InputError("`beam_args` must have --job_endpoint=HOST:PORT with PortableRunner.")
    if name == "FlinkRunner":
        _check_flink(options, own_server=not portable.job_endpoint)


def probe(args: Sequence[str], output: str, inputs: Sequence[str]) -> str:
    """Runs a small job on a portable runner.

    Args:
      args: Beam's options of the run.
      output: its folder.
      inputs: files, folders or globs that it reads.

    Returns:
      a line on the workers; "" if the runner is not a portable one.

    Raises:
      InputError: if the job fails, or workers have other versions or folders than this process.
    """
    options = _parsed(args)
    if not _is_portable(options):
        return ""
    folder = FileSystems.join(output, f"probe-{uuid.uuid4().hex}")
    FileSystems.mkdirs(folder)
    paths = [FileSystems.join(folder, str(number)) for number in range(_ELEMENTS)]
    try:
        _run(options, paths, [filesystem.list_files(name).paths[0] for name in inputs])
        seen = [_read(path) for path in paths if FileSystems.exists(path)]
    finally:
        FileSystems.delete([folder])
    if len(seen) < _ELEMENTS:
        raise InputError(
            f"All workers of a Beam runner must share the folder of the run. Of {_ELEMENTS} files "
            f"that they wrote under {output!r}, {_ELEMENTS - len(seen)} are not there. Give an "
            "`output` on a shared file system, mounted at the same path everywhere."
        )
    own = _facts()
    for facts in seen:
        for key, value in own.items():
            if facts[key] != value:
                raise InputError(
                    f"Workers of a Beam runner must have the same {key} as this process. Received: "
                    f"{facts[key]} on {facts['worker']}, {value} here. Build the workers' image "
                    "from this code and its lock."
                )
        if facts["missing"]:
            raise InputError(
                f"All workers of a Beam runner must see the inputs. {facts['worker']} has no "
                f"{facts['missing'][0]!r}. Put it on a file system that is mounted at the same "
                "path everywhere."
            )
    workers = {facts["worker"] for facts in seen}
    hosts = {worker.split()[0] for worker in workers}
    return f"Beam {beam.__version__}: {len(workers)} workers on {', '.join(sorted(hosts))}"


def _parsed(args: Sequence[str]) -> beam_options.PipelineOptions:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options = beam_options.PipelineOptions(list(args))
            options.get_all_options()
    except SystemExit:
        reason = said.getvalue().strip().splitlines()[-1:]
        raise InputError(f"`beam_args` must be options of Beam. {''.join(reason)}") from None
    return options


def _is_portable(options: beam_options.PipelineOptions) -> bool:
    return options.view_as(beam_options.StandardOptions).runner in _PORTABLE


def _connect(option: str, address: str) -> None:
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()):
        raise InputError(f"`{option}` of `beam_args` must read HOST:PORT. Received: {address!r}.")
    try:
        socket.create_connection((host, int(port)), _ANSWER_SECONDS).close()
    except OSError as error:
        raise InputError(
            f"`{option}` of `beam_args` must be the address of a server that runs. Nothing answers "
            f"at {address} ({error})."
        ) from None


def _check_flink(options: beam_options.PipelineOptions, own_server: bool) -> None:
    flink = options.view_as(beam_options.FlinkRunnerOptions)
    supported = flink.PUBLISHED_FLINK_VERSIONS
    jar = _SERVER_JAR.search(flink.flink_job_server_jar or "")
    if own_server and flink.flink_job_server_jar:
        if "://" not in flink.flink_job_server_jar and not os.path.exists(
            flink.flink_job_server_jar
        ):
            raise InputError(
                "`--flink_job_server_jar` of `beam_args` must be a file. There is no "
                f"{flink.flink_job_server_jar!r}."
            )
        if jar and jar[2] != beam.__version__:
            raise InputError(
                f"Beam's job server must be of the version of Beam. Received: {jar[0]}, with Beam "
                f"{beam.__version__}."
            )
    if own_server and not shutil.which("java"):
        raise InputError("FlinkRunner starts Beam's job server with Java. There is no `java`.")
    if flink.flink_master in ("[local]", "[auto]"):
        return
    url = flink.flink_master
    url = url if url.startswith("http") else f"http://{url}"
    try:
        with urllib.request.urlopen(f"{url}/v1/config", timeout=_ANSWER_SECONDS) as answer:
            version = json.load(answer)["flink-version"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            "`--flink_master` of `beam_args` must be the address of Flink's REST server, such as "
            f"http://HOST:8081. No Flink answers at {url} ({error})."
        ) from None
    minor = ".".join(version.split(".")[:2])
    server = jar[1] if jar else flink.flink_version
    if minor not in supported:
        raise InputError(
            f"Beam {beam.__version__} runs on Flink {', '.join(supported)}. Received: Flink "
            f"{version} at {url}."
        )
    if own_server and server != minor:
        raise InputError(
            f"Beam's job server must be made for the version of the cluster. Received: one for "
            f"Flink {server}, and Flink {version} at {url}. Give --flink_version={minor}, and a "
            "--flink_job_server_jar for it if you give one."
        )


def _facts() -> dict[str, str]:
    code = digest("pipeline/ingest/component.py", "pipeline/items/component.py")
    return {
        "version of Beam": beam.__version__,
        "version of Python": ".".join(map(str, sys.version_info[:2])),
        "code": code[:12],
    }


def _look(path: str, inputs: Sequence[str]) -> None:
    """A worker writes down what it has and sees."""
    missing = [name for name in inputs if not FileSystems.exists(name)]
    facts = {**_facts(), "worker": f"{platform.node()} {os.getpid()}", "missing": missing}
    with contextlib.suppress(OSError), FileSystems.create(path) as file:
        file.write(json.dumps(facts).encode())


def _read(path: str) -> dict:
    with FileSystems.open(path) as file:
        return json.loads(file.read())


def _run(
    options: beam_options.PipelineOptions, paths: Sequence[str], inputs: Sequence[str]
) -> None:
    with beam_errors.collected() as errors:
        try:
            pipeline = beam.Pipeline(options=options)
            _ = pipeline | beam.Create(paths) | beam.Reshuffle() | beam.Map(_look, list(inputs))
            result = pipeline.run()
            state = result.wait_until_finish(duration=_PROBE_SECONDS * 1000)
        except Exception as error:  # whatever Beam, gRPC or a worker raise
            reason = beam_errors.reason(errors) or beam_errors.reason([str(error)]) or str(error)
            raise InputError(
                "The Beam runner in `beam_args` must run a small job before the run begins. It "
                f"failed: {reason}"
            ) from error
    if state != "DONE":
        with contextlib.suppress(Exception):  # or it would take slots from the next run
            result.cancel()
        raise InputError(
            "The Beam runner in `beam_args` must run a small job before the run begins, within "
            f"{_PROBE_SECONDS} s. Its state is {state}. Look for free slots and for workers that "
            "start."
        )
