"""Reads the metadata store: the components of the last run, and the run behind a served model."""

import dataclasses
import json
import os
from collections.abc import Iterator
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from pipeline.errors import InputError


@dataclasses.dataclass(frozen=True)
class Step:
    """The execution of a component: whether it was reused, and its output artifacts by key."""

    reused: bool
    outputs: dict[str, list[metadata_store_pb2.Artifact]]

    def uri(self, key: str) -> str:
        """The URI of the only artifact under an output key."""
        return self.outputs[key][0].uri

    def number(self, key: str, name: str) -> int:
        """An int custom property of the only artifact under an output key; 0 if unset."""
        return self.outputs[key][0].custom_properties[name].int_value

    def text(self, key: str, name: str) -> str:
        """A string custom property of the only artifact under an output key; "" if unset."""
        return self.outputs[key][0].custom_properties[name].string_value


def last_run(connection: metadata_store_pb2.ConnectionConfig, pipeline: str) -> dict[str, Step]:
    """The steps of the newest run of a pipeline, by component id.

    Args:
      connection: the metadata store, which other pipelines may share.
      pipeline: name of the pipeline.
    """
    store = mlmd.MetadataStore(connection)
    return _steps(store, newest_run(store, pipeline))


def newest_run(store: mlmd.MetadataStore, pipeline: str) -> metadata_store_pb2.Context:
    """The newest run of a pipeline."""
    of_pipeline = store.get_context_by_type_and_name("pipeline", pipeline)
    newest = max(store.get_executions_by_context(of_pipeline.id), key=lambda each: each.id)
    (run,) = (
        context
        for context in store.get_contexts_by_execution(newest.id)
        if context.type == "pipeline_run"
    )
    return run


def executions(
    store: mlmd.MetadataStore, run: metadata_store_pb2.Context
) -> dict[str, metadata_store_pb2.Execution]:
    """The executions of a run by component id."""
    found = {}
    for execution in store.get_executions_by_context(run.id):
        (node,) = (
            context.name.split(".", 1)[1]
            for context in store.get_contexts_by_execution(execution.id)
            if context.type == "node"
        )
        found[node] = execution
    return found


def first_maker(
    store: mlmd.MetadataStore, execution: metadata_store_pb2.Execution
) -> metadata_store_pb2.Execution | None:
    """The execution that made the outputs which a reused one has; None without outputs."""
    outputs = {
        event.artifact_id
        for event in store.get_events_by_execution_ids([execution.id])
        if event.type == metadata_store_pb2.Event.OUTPUT
    }
    makers = [
        event.execution_id
        for event in (store.get_events_by_artifact_ids(sorted(outputs)) if outputs else [])
        if event.type == metadata_store_pb2.Event.OUTPUT
    ]
    return store.get_executions_by_id([min(makers)])[0] if makers else None


def run_behind(
    connection: metadata_store_pb2.ConnectionConfig, pushed: str
) -> tuple[metadata_store_pb2.Context, dict[str, Step]] | None:
    """The run that last pushed a version, and its steps; None if the store knows none.

    Args:
      connection: the metadata store.
      pushed: folder of the version; only its last two names, MODEL/VERSION, matter.
    """
    store = mlmd.MetadataStore(connection)
    for context in _pushing_runs(store, pushed):
        return context, _steps(store, context)
    return None


def _pushing_runs(store: mlmd.MetadataStore, pushed: str) -> Iterator[metadata_store_pb2.Context]:
    """The runs that pushed a version, newest first."""
    artifacts = [
        artifact.id
        for artifact in store.get_artifacts_by_type("PushedModel")
        if _names(artifact.custom_properties["pushed_destination"].string_value) == _names(pushed)
    ]
    for event in reversed(store.get_events_by_artifact_ids(artifacts) if artifacts else []):
        for context in store.get_contexts_by_execution(event.execution_id):
            if context.type == "pipeline_run":
                yield context


def _steps(store: mlmd.MetadataStore, run: metadata_store_pb2.Context) -> dict[str, Step]:
    """The steps of a run by component id."""
    steps = {}
    for node, execution in executions(store, run).items():
        outputs: dict[str, list[metadata_store_pb2.Artifact]] = {}
        events = [
            event
            for event in store.get_events_by_execution_ids([execution.id])
            if event.type == metadata_store_pb2.Event.OUTPUT
        ]
        by_id = {a.id: a for a in store.get_artifacts_by_id([e.artifact_id for e in events])}
        for event in events:
            outputs.setdefault(event.path.steps[0].key, []).append(by_id[event.artifact_id])
        reused = execution.last_known_state == metadata_store_pb2.Execution.CACHED
        steps[node] = Step(reused, outputs)
    return steps


def newest_execution(connection: metadata_store_pb2.ConnectionConfig, pipeline: str) -> int:
    """The id of a pipeline's newest execution of a component; 0 if there is none.

    Every run adds executions, also where all components are reused.
    """
    store = mlmd.MetadataStore(connection)
    of_pipeline = store.get_context_by_type_and_name("pipeline", pipeline)
    if of_pipeline is None:
        return 0
    newest = store.get_executions_by_context(
        of_pipeline.id,
        mlmd.ListOptions(limit=1, order_by=mlmd.OrderByField.ID, is_asc=False),
    )
    return newest[0].id if newest else 0


def ingestion_behind(
    connection: metadata_store_pb2.ConnectionConfig, pushed: str
) -> dict[str, Any] | None:
    """The ratings and ingestion settings of the run that pushed a version.

    Args:
      connection: the metadata store.
      pushed: folder of the version; only its last two names, MODEL/VERSION, matter.

    Returns:
      `ratings` and the other properties of ingestion by name, of the last run that pushed this
      version; None if the store knows no such run.
    """
    store = mlmd.MetadataStore(connection)
    for context in _pushing_runs(store, pushed):
        for execution in store.get_executions_by_context(context.id):
            values = {
                name: getattr(value, value.WhichOneof("value"))
                for name, value in execution.custom_properties.items()
            }
            if execution.type.endswith("RatingsExampleGen"):
                (split,) = json.loads(values["input_config"])["splits"]
                ratings = os.path.join(values["input_base"], split["pattern"])
                return values | {"ratings": ratings}
    return None


def record_push(
    connection: metadata_store_pb2.ConnectionConfig,
    run: metadata_store_pb2.Context,
    model: metadata_store_pb2.Artifact,
    destination: str,
) -> None:
    """Records a version that no Pusher pushed, as one more step of the run that trained it.

    Args:
      connection: the metadata store.
      run: the run.
      model: the trained model of that run.
      destination: folder of the version.
    """
    store = mlmd.MetadataStore(connection)
    node = metadata_store_pb2.Context(
        type_id=store.get_context_type("node").id, type="node", name=f"{run.name}.Catalogue"
    )
    known = store.get_context_by_type_and_name("node", node.name)
    kind = metadata_store_pb2.ExecutionType(name="Catalogue")
    execution = metadata_store_pb2.Execution(
        type_id=store.put_execution_type(kind),
        last_known_state=metadata_store_pb2.Execution.COMPLETE,
    )
    artifact = metadata_store_pb2.Artifact(
        type_id=store.get_artifact_type("PushedModel").id,
        uri=destination,
        state=metadata_store_pb2.Artifact.LIVE,
    )
    artifact.custom_properties["pushed"].int_value = 1
    artifact.custom_properties["pushed_destination"].string_value = destination
    artifact.custom_properties["pushed_version"].string_value = os.path.basename(destination)
    store.put_execution(
        execution,
        [
            (model, _event(metadata_store_pb2.Event.INPUT, "model")),
            (artifact, _event(metadata_store_pb2.Event.OUTPUT, "pushed_model")),
        ],
        [run, known or node],
    )


def _event(kind: metadata_store_pb2.Event.Type, key: str) -> metadata_store_pb2.Event:
    event = metadata_store_pb2.Event(type=kind)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    return event


def check_generated(
    connection: metadata_store_pb2.ConnectionConfig, pushed: str, generated: str
) -> None:
    """Refuses to replace a model of real ratings by one of generated ratings.

    Args:
      connection: the metadata store.
      pushed: folder of the served version.
      generated: the file of generated ratings.

    Raises:
      InputError: if the served version was trained on other ratings, or on unknown ones.
    """
    known = ingestion_behind(connection, pushed)
    ratings = known["ratings"] if known else "ratings that the metadata store does not know"
    if os.path.basename(ratings) != os.path.basename(generated):
        raise InputError(
            f"Refusing to replace the served model (trained on {ratings}) by one trained on "
            "generated ratings. Give RATINGS=... for the next version of it, or OUTPUT=... to try "
            "the pipeline in another folder."
        )


def _names(folder: str) -> list[str]:
    return os.path.normpath(folder).split(os.sep)[-2:]
