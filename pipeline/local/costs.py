"""Time and memory of each component, kept with its execution in the metadata store."""

from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from pipeline.local import lineage
from pipeline.local.memory import Cost

_NAMES = Cost._fields


def record(
    connection: metadata_store_pb2.ConnectionConfig, pipeline: str, costs: dict[str, Cost]
) -> None:
    """Keeps the costs of components that ran as properties of their executions.

    Args:
      connection: the metadata store.
      pipeline: name of the pipeline, whose last run it was.
      costs: by component id.
    """
    store = mlmd.MetadataStore(connection)
    ran = []
    for name, execution in lineage.executions(store, lineage.newest_run(store, pipeline)).items():
        if cost := costs.get(name):
            for key, value in cost._asdict().items():
                execution.custom_properties[key].double_value = value
            ran.append(execution)
    if ran:
        store.put_executions(ran)


def read(
    connection: metadata_store_pb2.ConnectionConfig, pipeline: str
) -> dict[str, dict[str, Any]]:
    """The costs of the components of the last run, in the order they ran.

    Returns:
      by component id `reused`, and the fields of `Cost`. Those of a reused component are of
      the execution that made its outputs; None if no output leads to one, or if it was not
      measured.
    """
    store = mlmd.MetadataStore(connection)
    found = lineage.executions(store, lineage.newest_run(store, pipeline))
    result = {}
    for name, execution in sorted(found.items(), key=lambda entry: entry[1].id):
        reused = execution.last_known_state == metadata_store_pb2.Execution.CACHED
        source = lineage.first_maker(store, execution) if reused else execution
        properties = source.custom_properties if source else {}
        result[name] = {"reused": reused} | {
            key: properties[key].double_value if key in properties else None for key in _NAMES
        }
    return result
