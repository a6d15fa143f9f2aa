"""TFX's Transform, a file at a time, with the item table and a check for lost shards."""

import json
import os
from typing import Any, ClassVar

from tensorflow_transform.tf_metadata import schema_utils
from tfx import types
from tfx import v1 as tfx
from tfx.components.transform import executor as transform
from tfx.components.transform import executor_utils
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.types.component_spec import ChannelParameter
from tfx.utils import io_utils, json_utils

from pipeline.examples import require_all_shards, row_count
from pipeline.ingest.item_counts import write_frequent_items
from pipeline.items.component import ItemTableArtifact
from pipeline.progress import Progress
from pipeline.transform import samples, vocabularies
from transforms import item_table

_ITEM_TABLE = "item_table"
_COUNTED = "counted"


class Executor(transform.Executor):
    """TFX's executor builds the graph. This one counts before, and transforms after.

    TFX's own analysis and materialization pass each record through Beam in Python. Vocabularies
    are counted before, so that the graph needs no analysis, and samples are written after.
    `preprocessing_fn` is also told the items with enough events.

    It copies the item table into the Transform graph: ids and rows of the table belong together,
    and trainer and checks find both where they find the graph.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs Transform.

        Raises:
          InputError: if a file of the Examples is missing.
        """
        require_all_shards(input_dict["examples"])
        (examples,) = input_dict["examples"]
        splits = executor_utils.ResolveSplitsConfig(
            exec_properties.get(standard_component_specs.SPLITS_CONFIG_KEY), [examples]
        )
        config = json.loads(exec_properties["custom_config"])
        graph = artifact_utils.get_single_uri(output_dict["transform_graph"])
        tables = input_dict.pop(_ITEM_TABLE, None)
        if tables:
            table = artifact_utils.get_single_uri(tables)
            config["catalogue"] = os.path.join(table, item_table.IDS)
        # Beside the graph, because workers on other machines read and write it too.
        config["vocabularies"] = os.path.join(graph, _COUNTED)
        fileio.makedirs(config["vocabularies"])
        least = config["min_item_count"]
        if least > 1:
            config["frequent_items"] = os.path.join(config["vocabularies"], "frequent_items.npy")
            write_frequent_items(examples.uri, least, config["frequent_items"])
        rows = sum(row_count(examples, split) for split in (*splits.analyze, *splits.transform))
        transformed = output_dict.pop(standard_component_specs.TRANSFORMED_EXAMPLES_KEY)
        executor_utils.SetSplitNames(splits.transform, transformed)
        with Progress("Transform", rows) as progress:
            with self._make_beam_pipeline() as pipeline:
                spec = _feature_spec(input_dict["schema"])
                files = [file for split in splits.analyze for file in _files(examples, split)]
                counted = config["vocabularies"]
                vocabularies.write(pipeline, files, spec, config, counted, progress.advance)
            custom = {"custom_config": json.dumps(config)}
            super().Do(input_dict, output_dict, exec_properties | custom)
            with self._make_beam_pipeline() as pipeline:
                for split in splits.transform:
                    folder = artifact_utils.get_split_uri(transformed, split)
                    files = _files(examples, split)
                    samples.write(pipeline, graph, files, folder, progress.advance)
        output_dict[standard_component_specs.TRANSFORMED_EXAMPLES_KEY] = transformed
        fileio.rmtree(counted)
        if tables:
            io_utils.copy_dir(table, os.path.join(graph, item_table.FOLDER))


def _feature_spec(schemas: list[types.Artifact]) -> dict[str, Any]:
    path = io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(schemas))
    schema = io_utils.SchemaReader().read(path)
    return schema_utils.schema_as_feature_spec(schema).feature_spec


def _files(examples: types.Artifact, split: str) -> list[str]:
    folder = artifact_utils.get_split_uri([examples], split)
    return sorted(str(file) for file in fileio.glob(os.path.join(folder, "*")))


class _Spec(standard_component_specs.TransformSpec):
    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        **standard_component_specs.TransformSpec.INPUTS,
        _ITEM_TABLE: ChannelParameter(type=ItemTableArtifact, optional=True),
    }


class CheckedTransform(base_beam_component.BaseBeamComponent):
    """TFX's Transform with the executor above, and an item table as a further input.

    TFX's own component builds its spec itself, so this one has the same spec and outputs.

    Args:
      examples: channel of Examples.
      schema: channel of their schema.
      preprocessing_fn: path to the function.
      splits: to transform; the first is analysed.
      custom_config: of the function.
      item_table: channel of the table, or None.
    """

    SPEC_CLASS = _Spec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        schema: types.BaseChannel,
        preprocessing_fn: str,
        splits: tuple[str, ...],
        custom_config: dict[str, Any],
        item_table: types.BaseChannel | None = None,
    ) -> None:
        artifacts = tfx.types.standard_artifacts
        transformed = types.Channel(type=artifacts.Examples)
        transformed.matching_channel_name = "examples"
        super().__init__(
            spec=_Spec(
                examples=examples,
                schema=schema,
                preprocessing_fn=preprocessing_fn,
                splits_config=tfx.proto.SplitsConfig(analyze=splits[:1], transform=splits),
                custom_config=json_utils.dumps(custom_config),
                force_tf_compat_v1=0,
                disable_statistics=1,
                item_table=item_table,
                transform_graph=types.Channel(type=artifacts.TransformGraph),
                transformed_examples=transformed,
                updated_analyzer_cache=types.Channel(type=artifacts.TransformCache),
            )
        )
