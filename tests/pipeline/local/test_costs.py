"""Time and memory of components: measured, kept, and read back for what is reused."""

import subprocess
import sys
import threading

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.local import costs, memory
from pipeline.local.memory import Cost
from tests.pipeline.local.test_lineage import execute


@pytest.fixture
def connection(tmp_path):
    made = mlmd.ConnectionConfig()
    made.sqlite.filename_uri = str(tmp_path / "metadata.db")
    made.sqlite.connection_mode = made.sqlite.READWRITE_OPENCREATE
    return made


def reuse(store, pipeline, run, node, uri):
    """A reused component: a new execution whose output is the artifact of an earlier one."""
    (artifact,) = store.get_artifacts_by_uri(uri)
    contexts = [
        mlmd.Context(type_id=store.get_context_type(kind).id, name=name)
        for kind, name in (
            ("pipeline", pipeline),
            ("pipeline_run", run),
            ("node", f"{pipeline}.{node}"),
        )
    ]
    execution = mlmd.Execution(
        type_id=store.get_execution_type(node).id, last_known_state=mlmd.Execution.CACHED
    )
    event = mlmd.Event(type=mlmd.Event.OUTPUT, artifact_id=artifact.id)
    event.path.steps.add().key = "model"
    store.put_execution(execution, [(artifact, event)], contexts, True)


def test_costs_of_a_reused_component_are_those_of_the_run_that_made_it(connection):
    store = MetadataStore(connection)
    execute(store, "imn", "1", "Trainer", "/model")
    execute(store, "imn", "1", "Pusher", "/pushed")
    costs.record(
        connection, "imn", {"Trainer": Cost(120.5, 900.0, 200.0), "Pusher": Cost(0.5, 700.0, 0.5)}
    )
    reuse(store, "imn", "2", "Trainer", "/model")
    execute(store, "imn", "2", "Pusher", "/again")
    costs.record(connection, "imn", {"Pusher": Cost(0.25, 800.0, 0.125)})
    assert costs.read(connection, "imn") == {
        "Trainer": {"reused": True, "seconds": 120.5, "peak_memory_mb": 900.0}
        | {"processor_seconds": 200.0},
        "Pusher": {"reused": False, "seconds": 0.25, "peak_memory_mb": 800.0}
        | {"processor_seconds": 0.125},
    }


def test_what_was_not_measured_is_none(connection):
    store = MetadataStore(connection)
    execute(store, "imn", "1", "Trainer", "/model")
    costs.record(connection, "imn", {})
    assert costs.read(connection, "imn")["Trainer"] == {
        "reused": False,
        "seconds": None,
        "peak_memory_mb": None,
        "processor_seconds": None,
    }


def test_the_peak_includes_other_processes_and_is_forgotten():
    with memory.PeakMemory() as peak:
        peak.restart()
        before = peak.peak_mb()
        # Another process holds 200 MB until it is told to end.
        program = "x = bytearray(b'1') * (200 << 20); print(len(x), flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            child.stdout.readline()
            held = peak.peak_mb()
            child.communicate(b"\n")
        assert 195 < held - before < 300
        assert peak.peak_mb() >= held  # the highest, not the present one
        peak.restart()
        assert peak.peak_mb() < held - 100


def test_a_short_peak_is_seen_by_the_thread():
    with memory.PeakMemory() as peak:
        peak.restart()
        before = peak.peak_mb()
        held = bytearray(b"1") * (100 << 20)
        threading.Event().wait(3 * memory.SECONDS)
        del held
        assert peak.peak_mb() - before > 90
