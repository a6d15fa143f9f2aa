"""The schema of the raw Examples: a template, with L filled in for a run."""

import os
import pathlib

import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.io import fileio

from transforms import features

TEMPLATE = pathlib.Path(__file__).with_name("schema.pbtxt")
_PADDED = (features.HISTORY_ITEM, features.HISTORY_TIME)


def filled_schema(max_history_length: int, event_fields: str = "") -> schema_pb2.Schema:
    """The template with L = `max_history_length` in every shape that depends on it.

    Args:
      max_history_length: L.
      event_fields: the setting; each of its fields has a feature like that of the items.
    """
    schema = text_format.Parse(TEMPLATE.read_text(encoding="utf-8"), schema_pb2.Schema())
    for feature in schema.feature:
        if feature.name in _PADDED:
            feature.shape.dim[0].size = max_history_length
        if feature.name == features.HISTORY_LENGTH:
            feature.int_domain.max = max_history_length
        if feature.name == features.HISTORY_ITEM:
            items = feature
    for name in features.event_fields(event_fields):
        schema.feature.add().MergeFrom(items)
        schema.feature[-1].name = features.history_feature(name)
    return schema


@tfx.dsl.components.component
def HistorySchema(
    schema: OutputArtifact[tfx.types.standard_artifacts.Schema],
    max_history_length: Parameter[int],
    event_fields: Parameter[str] = "",
) -> None:
    """Writes the schema of the run as its Schema artifact."""
    path = os.path.join(schema.uri, "schema.pbtxt")
    with fileio.open(path, "w") as file:
        file.write(text_format.MessageToString(filled_schema(max_history_length, event_fields)))


def proposed_schema(statistics_path: str) -> schema_pb2.Schema:
    """The schema that TFDV infers from the training statistics of a run."""
    statistics = tfdv.load_stats_binary(statistics_path)
    return tfdv.infer_schema(statistics, infer_feature_shape=True)
