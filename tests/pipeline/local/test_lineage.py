"""What is read from a metadata store that is not one pipeline's alone."""

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.local import lineage


@pytest.fixture
def connection(tmp_path):
    made = mlmd.ConnectionConfig()
    made.sqlite.filename_uri = str(tmp_path / "metadata.db")
    made.sqlite.connection_mode = made.sqlite.READWRITE_OPENCREATE
    return made


def execute(store, pipeline, run, node, uri, cached=False):
    """One component's execution as TFX records it."""
    contexts = [
        mlmd.Context(type_id=store.put_context_type(mlmd.ContextType(name=kind)), name=name)
        for kind, name in (
            ("pipeline", pipeline),
            ("pipeline_run", run),
            ("node", f"{pipeline}.{node}"),
        )
    ]
    execution = mlmd.Execution(
        type_id=store.put_execution_type(mlmd.ExecutionType(name=node)),
        last_known_state=mlmd.Execution.CACHED if cached else mlmd.Execution.COMPLETE,
    )
    artifact = mlmd.Artifact(
        type_id=store.put_artifact_type(mlmd.ArtifactType(name="Model")), uri=uri
    )
    event = mlmd.Event(type=mlmd.Event.OUTPUT)
    event.path.steps.add().key = "model"
    store.put_execution(execution, [(artifact, event)], contexts, True)


def test_the_last_run_is_this_pipelines_own(connection):
    store = MetadataStore(connection)
    execute(store, "imn", "1", "Trainer", "/first")
    execute(store, "imn", "2", "Trainer", "/second")
    execute(store, "imn", "2", "Pusher", "/pushed", cached=True)
    execute(store, "imn-din", "3", "Trainer", "/others")  # begun while run 2 was under way
    found = lineage.last_run(connection, "imn")
    assert {node: step.uri("model") for node, step in found.items()} == {
        "Trainer": "/second",
        "Pusher": "/pushed",
    }
    assert [found[node].reused for node in ("Trainer", "Pusher")] == [False, True]
    assert lineage.last_run(connection, "imn-din")["Trainer"].uri("model") == "/others"


def test_a_run_shows_as_a_newer_execution_of_its_own_pipeline(connection):
    assert lineage.newest_execution(connection, "imn") == 0
    store = MetadataStore(connection)
    execute(store, "imn", "1", "Trainer", "/first")
    first = lineage.newest_execution(connection, "imn")
    execute(store, "imn-din", "2", "Trainer", "/others")
    assert lineage.newest_execution(connection, "imn") == first > 0
    execute(store, "imn", "3", "Trainer", "/first", cached=True)
    assert lineage.newest_execution(connection, "imn") > first
