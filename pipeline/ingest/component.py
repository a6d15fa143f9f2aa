"""RatingsExampleGen: the ingestion job as a component of TFX."""

import os
from typing import Any

from tfx import types
from tfx import v1 as tfx
from tfx.components.example_gen import component, driver, utils
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from pipeline.configs import INGESTION, Ingestion
from pipeline.errors import InputError
from pipeline.examples import set_sizes
from pipeline.ingest.job import ingest
from pipeline.ingest.sources import filesystem
from transforms import features


class Driver(driver.FileBasedDriver):
    """Fingerprints the content of the ratings, so that TFX's cache goes by nothing else."""

    def resolve_exec_properties(
        self, exec_properties: dict[str, Any], pipeline_info: Any, component_info: Any
    ) -> dict[str, Any]:
        """TFX calls this before it looks into its cache.

        Raises:
          InputError: if there are no ratings.
        """
        del pipeline_info, component_info
        paths = filesystem.list_files(_ratings(exec_properties)).paths
        return exec_properties | {
            utils.SPAN_PROPERTY_NAME: 0,
            utils.VERSION_PROPERTY_NAME: None,
            utils.FINGERPRINT_PROPERTY_NAME: filesystem.digest(paths),
        }


class Executor(base_beam_executor.BaseBeamExecutor):
    """Runs the job and marks its output."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """TFX calls this.

        Raises:
          InputError: as `ingest` does, or if a file changed since its digest was taken.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.EXAMPLES_KEY]
        )
        values = {name: exec_properties[name] for name in INGESTION}
        settings = Ingestion(ratings=_ratings(exec_properties), **values)
        before = _digest_before(settings.ratings, exec_properties)
        report = ingest(settings, artifact.uri, self._make_beam_pipeline())
        _stop_if_changed(settings.ratings, before, artifact.uri)
        artifact.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
        examples_utils.set_payload_format(
            artifact, exec_properties[standard_component_specs.OUTPUT_DATA_FORMAT_KEY]
        )
        examples_utils.set_file_format(artifact, "tfrecords_gzip")
        for name in features.SPLITS:
            artifact.set_int_custom_property(f"rows_{name}", report["splits"][name]["samples"])
            set_sizes(artifact, name)


class RatingsExampleGen(component.FileBasedExampleGen):
    """Ratings in, examples of histories and targets out.

    Its `examples` have the splits train, eval and test, the raw features of
    `transforms.features`, and the custom properties `rows_SPLIT`,
    `shards_SPLIT` and `bytes_SPLIT` for each.

    Args:
      settings: of the run; `ratings` is a file or a glob.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(self, settings: Ingestion) -> None:
        folder, pattern = os.path.split(settings.ratings)
        split = tfx.proto.SplitConfig.Split
        super().__init__(
            input_base=folder or ".",
            input_config=tfx.proto.Input(
                splits=[tfx.proto.Input.Split(name="ratings", pattern=pattern)]
            ),
            # TFX wants shares; the job splits by time or user and ignores them.
            output_config=tfx.proto.Output(
                split_config=tfx.proto.SplitConfig(
                    splits=[split(name=name, hash_buckets=1) for name in features.SPLITS]
                )
            ),
        )
        self.exec_properties.update({name: getattr(settings, name) for name in INGESTION})


def _digest_before(ratings: str, exec_properties: dict[str, Any]) -> str:
    """The digest that the driver took, or a new one on Kubeflow Pipelines 2.

    No driver runs there, or TFX's own, whose fingerprint is not one of the content.
    """
    known = exec_properties.get(utils.FINGERPRINT_PROPERTY_NAME) or "split:"
    if known.startswith("split:"):
        return filesystem.digest(filesystem.list_files(ratings).paths)
    return known


def _stop_if_changed(ratings: str, before: str, output: str) -> None:
    """Removes the examples and raises InputError if files are no longer those of a digest."""
    if filesystem.digest(filesystem.list_files(ratings).paths) != before:
        for name in features.SPLITS:
            fileio.rmtree(os.path.join(output, f"Split-{name}"))
        raise InputError(
            f"Files of `ratings` must not change during a run. Received: {ratings!r}, which "
            "changed while it was read. Run again when it is complete."
        )


def _ratings(exec_properties: dict[str, Any]) -> str:
    config = tfx.proto.Input()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], config)
    folder = exec_properties[standard_component_specs.INPUT_BASE_KEY]
    return os.path.join(folder, config.splits[0].pattern)
