"""ItemTable: the job as a component of TFX."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import (
    base_beam_component,
    base_beam_executor,
    base_driver,
    executor_spec,
)
from tfx.orchestration import data_types_utils
from tfx.orchestration.portable import base_driver as ir_base_driver
from tfx.orchestration.portable import data_types as portable_data_types
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import artifact_utils, component_spec, standard_artifacts

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.ingest.sources import filesystem
from pipeline.items.job import Request, make_item_table

_CONTENT = "content"
_SETTINGS = ("items", "item_fields", "max_bad_share", "max_vocabulary_size")


class ItemTableArtifact(types.Artifact):
    """The folder of an item table (transforms/item_table.py)."""

    TYPE_NAME = "ItemTable"


class Driver(base_driver.BaseDriver, ir_base_driver.BaseDriver):
    """Adds a digest of the catalogue, so that TFX's cache goes by its content.

    TFX wants a driver of its old kind and calls it as one of the new.
    """

    def run(
        self, execution_info: portable_data_types.ExecutionInfo
    ) -> driver_output_pb2.DriverOutput:
        """TFX calls this before it looks into its cache.

        Raises:
          InputError: if there is no catalogue.
        """
        result = driver_output_pb2.DriverOutput()
        for name, value in execution_info.exec_properties.items():
            data_types_utils.set_metadata_value(result.exec_properties[name], value)
        digest = _digest(execution_info.exec_properties["items"])
        data_types_utils.set_metadata_value(result.exec_properties[_CONTENT], digest)
        return result


class Executor(base_beam_executor.BaseBeamExecutor):
    """Runs the job."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """TFX calls this.

        Raises:
          InputError: as `make_item_table` does, or if a file changed while it was read.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        make_item_table(
            Request(
                item_counts=artifact_utils.get_single_uri(input_dict["examples"]),
                **{name: exec_properties[name] for name in _SETTINGS},
            ),
            artifact_utils.get_single_uri(output_dict["item_table"]),
            self._make_beam_pipeline(),
        )
        known = exec_properties.get(_CONTENT)  # not from every orchestrator
        if known and known != _digest(exec_properties["items"]):
            raise InputError(
                f"Files of `items` must not change during a run. Received: "
                f"{exec_properties['items']!r}, which changed while it was read. Run again when it "
                "is complete."
            )


def _digest(items: str) -> str:
    return filesystem.digest(filesystem.list_files(items, "items").paths)


class _Spec(component_spec.ComponentSpec):
    PARAMETERS = {  # noqa: RUF012, as TFX wants it
        "items": component_spec.ExecutionParameter(type=str),
        "item_fields": component_spec.ExecutionParameter(type=str),
        "max_bad_share": component_spec.ExecutionParameter(type=float),
        "max_vocabulary_size": component_spec.ExecutionParameter(type=int),
    }
    INPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}  # noqa: RUF012
    OUTPUTS = {"item_table": component_spec.ChannelParameter(type=ItemTableArtifact)}  # noqa: RUF012


class ItemTable(base_beam_component.BaseBeamComponent):
    """A catalogue in, the table of its items' attributes out.

    Args:
      examples: channel of ingestion's Examples; their item counts say what training knows.
      settings: of the run.
    """

    SPEC_CLASS = _Spec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(self, examples: types.BaseChannel, settings: Settings) -> None:
        super().__init__(
            spec=_Spec(
                examples=examples,
                item_table=types.Channel(type=ItemTableArtifact),
                **{name: getattr(settings, name) for name in _SETTINGS},
            )
        )
