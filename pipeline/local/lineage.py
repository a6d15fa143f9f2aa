"""What the metadata store knows of the last run: a state and artifacts for each component."""

import dataclasses
import json
import os
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from pipeline.errors import InputError


@dataclasses.dataclass(frozen=True)
class Step:
    """One component's execution: whether it was reused, and its output artifacts by key."""

    reused: bool
    outputs: dict[str, list[metadata_store_pb2.Artifact]]

    def uri(self, key: str) -> str:
        """Where the only artifact under an output key lies."""
        return self.outputs[key][0].uri

    def number(self, key: str, name: str) -> int:
        """An int custom property of the only artifact under an output key; 0 where unset."""
        return self.outputs[key][0].custom_properties[name].int_value

    def text(self, key: str, name: str) -> str:
        """A string custom property of the only artifact under an output key; "" where unset."""
        return self.outputs[key][0].custom_properties[name].string_value


def last_run(connection: metadata_store_pb2.ConnectionConfig, pipeline: str) -> dict[str, Step]:
    """The steps of a pipeline's newest run, by component id.

    Args:
      connection: the metadata store, which other pipelines may write to as well.
      pipeline: its name.
    """
    store = mlmd.MetadataStore(connection)
    of_pipeline = store.get_context_by_type_and_name("pipeline", pipeline)
    newest = max(store.get_executions_by_context(of_pipeline.id), key=lambda each: each.id)
    (run,) = (
        context
        for context in store.get_contexts_by_execution(newest.id)
        if context.type == "pipeline_run"
    )
    steps = {}
    for execution in store.get_executions_by_context(run.id):
        (node,) = (
            context.name.split(".", 1)[1]
            for context in store.get_contexts_by_execution(execution.id)
            if context.type == "node"
        )
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


def ingestion_behind(
    connection: metadata_store_pb2.ConnectionConfig, pushed: str
) -> dict[str, Any] | None:
    """What a pushed version's ratings were, and how they were read.

    Args:
      connection: the metadata store.
      pushed: the version's folder; its last two names, MODEL/VERSION, are what counts.

    Returns:
      `ratings` and the other properties of ingestion by name, of the last run that pushed
      this version; None if the store knows of none.
    """
    store = mlmd.MetadataStore(connection)
    artifacts = [
        artifact.id
        for artifact in store.get_artifacts_by_type("PushedModel")
        if _names(artifact.custom_properties["pushed_destination"].string_value) == _names(pushed)
    ]
    for event in reversed(store.get_events_by_artifact_ids(artifacts) if artifacts else []):
        for context in store.get_contexts_by_execution(event.execution_id):
            if context.type != "pipeline_run":
                continue
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


def check_generated(
    connection: metadata_store_pb2.ConnectionConfig, pushed: str, generated: str
) -> None:
    """Keeps a model of generated ratings from taking the place of one of real ratings.

    Args:
      connection: the metadata store.
      pushed: the served version's folder.
      generated: the file of generated ratings.

    Raises:
      InputError: if the served version was made from other ratings, or nobody knows from which.
    """
    known = ingestion_behind(connection, pushed)
    ratings = known["ratings"] if known else "ratings that the metadata store does not know"
    if os.path.basename(ratings) != os.path.basename(generated):
        raise InputError(
            f"the model that is served was made from {ratings}, and one of generated "
            "ratings would take its place. Give RATINGS=... for the next version of it, or "
            "OUTPUT=... to try the pipeline elsewhere."
        )


def _names(folder: str) -> list[str]:
    return os.path.normpath(folder).split(os.sep)[-2:]
